"""Reference values for the census and for descriptions, from scipy, scikit-learn and networkx.

    python test/golden/make_census.py      # writes census.json beside this file
"""

import json
import pathlib

import networkx
import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.metrics import adjusted_rand_score, mutual_info_score, roc_auc_score

rng = np.random.default_rng(20261122)

# Values like those of a GELU unit: mostly small and negative, a long tail; a large mean is added for the second.
values = np.where(rng.random(400) < 0.2, rng.gamma(2.0, 1.0, 400), -0.17 * rng.random(400))
units = [values, values + 1000.0, np.floor(values * 4) / 4]
units = [u.astype(np.float32).astype(np.float64) for u in units]
moments = [
    {
        "values": u.tolist(),
        "mean": u.mean(),
        "variance": u.var(),
        "skewness": float(stats.skew(u)),
        "kurtosis": float(stats.kurtosis(u, fisher=False)),
    }
    for u in units
]

# Activity and position, as labels of tokens: 12 positions, unequally often, rates that depend on the position.
n_tokens = rng.integers(20, 60, 12)
n_active = np.array([rng.binomial(n, rate) for n, rate in zip(n_tokens, rng.random(12) ** 2)])
positions = np.repeat(np.arange(12), n_tokens)
active = np.concatenate([[1] * a + [0] * (n - a) for a, n in zip(n_active, n_tokens)])
positional = {
    "nTokens": n_tokens.tolist(),
    "nActive": n_active.tolist(),
    "information": float(mutual_info_score(positions, active)),
}

# The mean divergence of an observed rate from the true one, by the binomial's own probabilities.
def mean_divergence(n, f):
    k = np.arange(n + 1)
    g = k / n
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(g > 0, g * np.log(g / f), 0) + np.where(g < 1, (1 - g) * np.log((1 - g) / (1 - f)), 0)
    return float((stats.binom.pmf(k, n, f) * d).sum())

rate = n_active.sum() / n_tokens.sum()
total = int(n_tokens.sum())
positional["bias"] = sum(n / total * mean_divergence(int(n), rate) for n in n_tokens) - 1 / (2 * total)

# A weighted graph and two partings.
w = rng.random((14, 14)) * (rng.random((14, 14)) < 0.5)
w = w + w.T
np.fill_diagonal(w, 0)
a = rng.integers(0, 3, 14)
b = rng.integers(0, 4, 14)
graph = networkx.from_numpy_array(w)
communities = [set(np.flatnonzero(a == g).tolist()) for g in np.unique(a)]
partition = {
    "weights": w.ravel().tolist(),
    "a": a.tolist(),
    "b": b.tolist(),
    "modularity": networkx.community.modularity(graph, communities, weight="weight"),
    "adjustedRand": float(adjusted_rand_score(a, b)),
}

# Areas under the curve, with many ties.
labels = (rng.random(60) < 0.4).astype(int)
scores = np.round(labels * 0.6 + rng.normal(size=60), 0)
auroc = {
    "scores": scores.tolist(),
    "labels": labels.tolist(),
    "auroc": float(roc_auc_score(labels, scores)),
}

versions = {m.__name__: m.__version__ for m in (np, scipy, sklearn, networkx)}
out = pathlib.Path(__file__).with_name("census.json")
out.write_text(
    json.dumps(
        {
            "versions": versions,
            "moments": moments,
            "positional": positional,
            "partition": partition,
            "auroc": auroc,
        }
    )
    + "\n"
)
