"""Reference values of RTD (persistent homology by GUDHI) and IMD (eigenvalues by numpy) for topology.json.

pip install gudhi==3.13.0 numpy scipy; python make_topology.py
Representations are made of a fixed seed; definitions are those of the papers, written out here.
"""
import json
from pathlib import Path

import gudhi
import numpy as np
from scipy.spatial.distance import cdist


def loops(d, e):
    n = len(d)
    both = np.zeros((2 * n, 2 * n))
    both[:n, n:] = d
    both[n:, :n] = d
    both[n:, n:] = np.minimum(d, e)
    tree = gudhi.RipsComplex(distance_matrix=both, max_edge_length=np.inf).create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0)
    bars = tree.persistence_intervals_in_dimension(1)
    # Without tetrahedra nothing fills spheres, but every loop is filled once all triangles are there.
    return float(sum(b[1] - b[0] for b in bars))


def rtd(x, y):
    d, e = cdist(x, x), cdist(y, y)
    d, e = d / np.quantile(d, 0.9), e / np.quantile(e, 0.9)
    return (loops(d, e) + loops(e, d)) / 2


def heat(x, k, times):
    n = len(x)
    d = cdist(x, x, "sqeuclidean")
    np.fill_diagonal(d, np.inf)
    a = np.zeros((n, n))
    for i in range(n):
        a[i, np.argsort(d[i], kind="stable")[:k]] = 1
    a = np.maximum(a, a.T)
    scale = 1 / np.sqrt(a.sum(1))
    values = np.linalg.eigvalsh(np.eye(n) - a * scale[:, None] * scale[None, :])
    return np.exp(-np.outer(times, values)).mean(1)


def imd(x, y, k):
    times = np.logspace(-1, 1, 256)
    return float(1e6 * np.max(np.exp(-2 * (times + 1 / times)) * np.abs(heat(x, k, times) - heat(y, k, times))))


rng = np.random.default_rng(7)
cases = []
for name, n, p, q in [("noise", 24, 5, 3), ("alike", 30, 4, 4), ("ring and line", 36, 2, 1), ("clusters", 40, 6, 8)]:
    x = rng.normal(size=(n, p))
    if name == "alike":
        y = x @ rng.normal(size=(p, q)) + 0.1 * rng.normal(size=(n, q))
    elif name == "ring and line":
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        x, y = np.stack([np.cos(angle), np.sin(angle)], 1), angle[:, None]
    elif name == "clusters":
        x = x + 4 * rng.normal(size=(4, p))[np.arange(n) % 4]
        y = rng.normal(size=(n, q)) + 4 * rng.normal(size=(2, q))[np.arange(n) % 2]
    else:
        y = rng.normal(size=(n, q))
    x, y = np.round(x, 6), np.round(y, 6)
    cases.append(
        {
            "name": name,
            "x": x.tolist(),
            "y": y.tolist(),
            "rtd": rtd(x, y),
            "imd": imd(x, y, 5),
        }
    )
about = {"seed": 7, "gudhi": gudhi.__version__, "numpy": np.__version__}
Path(__file__).with_name("topology.json").write_text(json.dumps({"about": about, "cases": cases}) + "\n")
print([(c["name"], c["rtd"], c["imd"]) for c in cases], about)
