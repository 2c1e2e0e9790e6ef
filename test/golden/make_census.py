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

# Quantiles as order statistics, sparseness and dormancy of the same values.
levels = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]
for own, u in zip(moments, units):
    own["quantiles"] = np.quantile(u, levels, method="inverted_cdf").tolist()
    root = np.sqrt(u.size)
    own["hoyer"] = float((root - np.linalg.norm(u, 1) / np.linalg.norm(u, 2)) / (root - 1))
layer = rng.gamma(0.3, 1.0, 50) * (rng.random(50) < 0.7)
dormancy = {
    "meanAbs": layer.tolist(),
    "scores": (layer / layer.mean()).tolist(),
    "ratio": float((layer / layer.mean() <= 0.025).mean()),
}

# Two models of 12 and 15 units, some of them alike: the best correlation of each unit, and mutual matches (five neighbours on one side).
x = rng.normal(size=(12, 90))
y = rng.normal(size=(15, 90))
for i in range(5):
    y[2 * i] += (i + 1) * x[i]
y[14] += 2 * x[0]
x, y = x.astype(np.float32), y.astype(np.float32)
r = np.corrcoef(x.astype(np.float64), y.astype(np.float64))[:12, 12:]
best = r.argmax(axis=1)
ranks = stats.rankdata(-r, axis=0, method="ordinal")
universality = {
    "x": x.astype(np.float64).ravel().tolist(),
    "y": y.astype(np.float64).ravel().tolist(),
    "correlation": r.max(axis=1).tolist(),
    "match": best.tolist(),
    "rosetta": [[i, int(j)] for i, j in enumerate(best) if r[i, j] > 0 and ranks[i, j] <= 5],
}

# A binary class and the variance of a unit that it takes away: 1 - (p1 Var1 + p0 Var0) / Var.
# Whole numbers up to 255, which the bytes of a census hold exactly.
inside = rng.random(400) < 0.3
whole = np.minimum(255, rng.integers(0, 120, 400) + 110 * inside * (rng.random(400) < 0.8))
whole[0] = 255
within = inside.mean() * whole[inside].var() + (1 - inside.mean()) * whole[~inside].var()
family = {
    "inside": inside.astype(int).tolist(),
    "values": whole.tolist(),
    "varianceReduction": float(1 - within / whole.var()),
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
            "quantileLevels": levels,
            "dormancy": dormancy,
            "universality": universality,
            "family": family,
        }
    )
    + "\n"
)
