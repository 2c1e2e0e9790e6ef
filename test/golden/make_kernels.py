"""Measures that no other golden case has, by scikit-learn, scipy and numpy, for kernels.json.

pip install scikit-learn scipy numpy; python make_kernels.py
"""
import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.linalg import eigh
from scipy.stats import spearmanr
from sklearn.cross_decomposition import PLSSVD


def pls(x, y, k):
    model = PLSSVD(n_components=k, scale=False).fit(x, y)
    a, b = model.transform(x, y)
    r = np.array([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(k)])
    cov = np.abs(np.sum(a * b, 0))
    return float(np.sum(r * cov) / np.sum(cov)), np.abs(r).tolist()


def centred(x):
    c = x - x.mean(0)
    return c @ c.T


def lange(x, y):
    k, l = centred(x), centred(y)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    return float(np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l)))


def riemannian(x, y, ridge):
    def kernel(m):
        k = centred(m)
        k = k / np.trace(k)
        return k + ridge * np.trace(k) / len(k) * np.eye(len(k))

    return float(np.sqrt(np.sum(np.log(eigh(kernel(x), kernel(y), eigvals_only=True)) ** 2)))


def ssm(x, y):
    at = np.triu_indices(len(x), 1)
    return float(spearmanr(np.corrcoef(x)[at], np.corrcoef(y)[at])[0])


rng = np.random.default_rng(5)
cases = []
for name, n, p, q, noise in [("related", 20, 4, 6, 0.5), ("unrelated", 15, 5, 3, None), ("wide", 8, 12, 10, 1.0), ("offset", 25, 3, 3, 0.2)]:
    x = rng.normal(size=(n, p))
    y = rng.normal(size=(n, q)) if noise is None else x @ rng.normal(size=(p, q)) + noise * rng.normal(size=(n, q))
    if name == "offset":
        x, y = x * [1, 10, 0.1] + 50, y - 7
    x, y = np.round(x, 6), np.round(y, 6)
    k = min(p, q, n - 1)
    mean, each = pls(x, y, k)
    cases.append(
        {"name": name, "x": x.tolist(), "y": y.tolist(), "components": k, "pls": mean, "plsCorrelations": each,
         "lange": lange(x, y), "riemannian": riemannian(x, y, 0.1), "ssm": ssm(x, y)}
    )
about = {"seed": 5, "numpy": np.__version__, "scipy": scipy.__version__, "sklearn": sklearn.__version__}
Path(__file__).with_name("kernels.json").write_text(json.dumps({"about": about, "cases": cases}) + "\n")
print([(c["name"], c["pls"], c["lange"], c["riemannian"], c["ssm"]) for c in cases])
