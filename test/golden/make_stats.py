"""Makes stats.json: reference values for packages/stats.

    python3 test/golden/make_stats.py

Special functions by mpmath (50 digits), everything else by numpy and scipy; versions and seed are in the file.
"""
import json
import pathlib
import random

import mpmath as mp
import numpy as np
import scipy
from scipy import stats

SEED = 20261122
mp.mp.dps = 50
random.seed(SEED)
rng = np.random.default_rng(SEED)


def number(value):
    """A decimal string that JavaScript reads to the nearest double."""
    return float(mp.nstr(mp.mpf(value), 25))


def t_survival(t, df):
    t, df = mp.mpf(t), mp.mpf(df)
    half = mp.betainc(df / 2, mp.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2
    return half if t >= 0 else 1 - half


special = {
    "logGamma": [
        [[x], number(mp.loggamma(mp.mpf(x)))]
        for x in [1e-300, 1e-8, 1e-3, 0.1, 0.3, 0.499, 0.5, 0.7, 0.9999, 1 + 2**-40, 1.3, 1.4999, 1.5, 1.9,
                  2 + 2**-40, 2.3, 2.6, 3, 5.5, 9.99, 10, 10.5, 33.3, 1e3, 1e6, 1e10, 1e300]
    ],
    "studentTSurvival": [
        [[t, df], number(t_survival(t, df))]
        for df in [1, 1.5, 3.7, 9.9, 20.5, 77.7, 198, 478.123, 2000, 1e5, 1e7]
        for t in [-3, -0.5, 1e-5, 0.5, 1, 1.1, 2, 5, 12, 30, 60]
        if t_survival(t, df) > mp.mpf("1e-300")
    ],
    "normalCdf": [
        [[z], number(mp.ncdf(mp.mpf(z)))]
        for z in [-37, -30, -20, -10, -6, -5, -3, -2.6, -2.5, -2.4, -2, -1, -0.3, -1e-9, 0, 0.5, 1, 2.4, 3, 8]
    ],
    "regularizedIncompleteBeta": [],
}
while len(special["regularizedIncompleteBeta"]) < 100:
    a, b = 10 ** random.uniform(-1.5, 3), 10 ** random.uniform(-1.5, 3)
    centre = a / (a + b)
    x = random.choice([random.random(), min(0.999, max(1e-3, centre * (1 + random.uniform(-0.3, 0.3))))])
    value = mp.betainc(mp.mpf(a), mp.mpf(b), 0, mp.mpf(x), regularized=True)
    if value > mp.mpf("1e-290"):
        special["regularizedIncompleteBeta"].append([[x, a, b], number(value)])

tied = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, -0.0, 0.0]
x, y = rng.normal(size=20), rng.normal(size=20)
coarse = np.round(y * 2)
a = rng.normal(size=(9, 4)) * [1, 5, 0.1, 1] + [0, 3, 1000, 0]
b = rng.normal(size=(14, 4)) * [2, 5, 0.1, 1] + [0, 1, 1000.3, 4]
t, p = stats.ttest_ind(a, b, axis=0, equal_var=False)
signed = rng.normal(size=11) + 0.4
skewed = rng.exponential(size=25)
bca = stats.bootstrap((skewed,), np.mean, n_resamples=100_000, method="BCa", random_state=SEED).confidence_interval
percentile = stats.bootstrap((skewed,), np.mean, n_resamples=100_000, method="percentile",
                             random_state=SEED).confidence_interval

out = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "mpmath": mp.__version__},
    "seed": SEED,
    "special": special,
    "rank": {"values": tied, **{m: stats.rankdata(tied, method=m).tolist() for m in ["average", "dense", "min"]}},
    "descriptive": {
        "values": x.tolist(), "mean": x.mean(), "variance": x.var(ddof=1),
        "q": [0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.9, 0.99, 1],
        "quantiles": np.quantile(x, [0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.9, 0.99, 1]).tolist(),
    },
    "correlation": {
        "x": x.tolist(), "y": y.tolist(), "coarse": coarse.tolist(),
        "pearson": stats.pearsonr(x, y)[0], "spearman": stats.spearmanr(x, y)[0],
        "spearmanTies": stats.spearmanr(x, coarse)[0],
    },
    "welch": {"a": a.tolist(), "b": b.tolist(), "t": t.tolist(), "p": p.tolist()},
    "wilcoxon": {"values": signed.tolist(), "statistic": float(stats.wilcoxon(signed, method="exact").statistic),
                 "p": float(stats.wilcoxon(signed, method="exact").pvalue)},
    "bootstrap": {"values": skewed.tolist(), "bca": [bca.low, bca.high], "percentile": [percentile.low, percentile.high]},
}
path = pathlib.Path(__file__).with_name("stats.json")
path.write_text(json.dumps(out) + "\n")
print(path.name, path.stat().st_size, "bytes")
