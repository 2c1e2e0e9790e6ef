"""Living times of loops of witness complexes (GUDHI) for geometry.json, for landmarks that are written down.

pip install gudhi==3.13.0 numpy scipy; python make_geometry.py
The definition is that of Khrulkov & Oseledets (2018), algorithm 1, written out here; clouds are of a fixed seed.
"""
import json
from pathlib import Path

import gudhi
import numpy as np
from scipy.spatial.distance import cdist


def living_times(x, rows, gamma, most):
    d = cdist(x, x[rows])
    order = np.argsort(d, axis=1, kind="stable")
    table = [[(int(j), float(d[i, j])) for j in order[i]] for i in range(len(x))]
    end = gamma * d.max()
    tree = gudhi.WitnessComplex(table).create_simplex_tree(max_alpha_square=end, limit_dimension=2)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0)
    bars = [(b, min(e, end)) for b, e in tree.persistence_intervals_in_dimension(1)]
    cuts = np.unique([0.0, end] + [v for bar in bars for v in bar])
    times = np.zeros(most)
    for low, high in zip(cuts[:-1], cuts[1:]):
        alive = sum(b <= (low + high) / 2 < e for b, e in bars)
        if alive < most:
            times[alive] += (high - low) / end
    return times, len(bars)


rng = np.random.default_rng(11)
cases = []
for name, n, m, gamma in [("cloud", 60, 16, 0.05), ("ring", 80, 20, 0.125), ("two rings", 90, 24, 0.02), ("sphere", 70, 30, 0.3), ("tiny gamma", 100, 32, 100 / 640000)]:
    if name == "cloud" or name == "tiny gamma":
        x = rng.normal(size=(n, 3))
    elif name == "sphere":
        x = rng.normal(size=(n, 3))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    else:
        angle = rng.uniform(0, 2 * np.pi, n)
        x = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.03 * rng.normal(size=(n, 2))
        if name == "two rings":
            x[::2] += 3
    x = np.round(x, 6)
    draws, times = [], []
    for replace in (False, False, True):
        rows = rng.choice(n, m, replace=replace)
        t, count = living_times(x, rows, gamma, 12)
        print(name, replace, count, np.round(t, 3))
        draws.append(rows.tolist())
        times.append(t.tolist())
    cases.append({"name": name, "gamma": gamma, "most": 12, "x": x.tolist(), "draws": draws, "times": times})
about = {"seed": 11, "gudhi": gudhi.__version__, "numpy": np.__version__}
Path(__file__).with_name("geometry.json").write_text(json.dumps({"about": about, "cases": cases}) + "\n")
