"""Makes numpyRandom.json: what numpy's legacy generator draws, for packages/core and packages/localize.

    python3 test/golden/make_numpyRandom.py
"""
import json
import pathlib

import numpy as np

SEEDS = [0, 1, 42, 43, 44, 20261122, 2**32 - 1]


def fresh(seed):
    np.random.seed(seed)
    return np.random


def mixed(seed):
    """Several kinds of draws from one stream."""
    r = fresh(seed)
    return [int(r.randint(100, 200)), r.random_sample(), r.permutation(6).tolist(), int(r.randint(0, 2)),
            r.choice(np.arange(50, 60), size=4, replace=False).tolist(), r.random_sample()]


# 700 permuted numbers need more than the 624 words of one refill.
core = [
    {
        "seed": seed,
        "permutation": fresh(seed).permutation(700).tolist(),
        "choice": fresh(seed).choice(np.arange(1000, 1300), size=40, replace=False).tolist(),
        "randint": [int(v) for v in (lambda r: [r.randint(-5, 95) for _ in range(30)])(fresh(seed))],
        "randintWide": [int(v) for v in (lambda r: [r.randint(0, 2**32) for _ in range(5)])(fresh(seed))],
        "random": (lambda r: [r.random_sample() for _ in range(20)])(fresh(seed)),
        "mixed": mixed(seed),
    }
    for seed in SEEDS
]


def published_random(mask, k, seed):
    candidates = np.arange(mask.size)[(1 - mask).flatten().astype(bool)]
    np.random.seed(seed)
    return sorted(np.random.choice(candidates, size=k, replace=False).tolist())


def published_range(t, k, low, high, seed):
    np.random.seed(seed)
    inside = (t >= np.percentile(t, low)) & (t <= np.percentile(t, high))
    return sorted(np.random.choice(np.arange(t.size)[inside.flatten()], size=k, replace=False).tolist())


def published_top(a, k):
    _, rank = np.unique(-a, return_inverse=True)
    return np.flatnonzero(np.where(rank.ravel() < k, 1, 0)).tolist()


def sums(low, high):
    np.random.seed(42)
    texts = []
    for _ in range(100):
        a, b = np.random.randint(low, high), np.random.randint(low, high)
        plus = np.random.choice(["+", "-"]) == "+"
        texts.append(f"Question: Solve {a} {'+' if plus else '-'} {b}?\nAnswer: {a + b if plus else a - b}")
    return texts


t = np.round(np.random.default_rng(7).normal(size=(6, 50)), 1)  # rounded: many ties
mask = np.zeros((6, 50), int)
mask.flat[published_top(t, 9)] = 1
out = {
    "numpy": np.__version__,
    "core": core,
    "localize": {
        "t": t.tolist(),
        "top": {str(k): published_top(t, k) for k in [1, 9, 30]},
        "bottom": published_top(-t, 9),
        "complement": {str(s): published_random(mask, int(mask.sum()), s) for s in [42, 43, 44]},
        "range": [{"low": lo, "high": hi, "k": k, "seed": s, "units": published_range(t, k, lo, hi, s)}
                  for lo, hi, k, s in [(80, 90, 9, 42), (0, 33, 20, 43), (12, 13, 2, 44), (99, 100, 1, 0)]],
        "hard": sums(100, 200),
        "easy": sums(1, 20),
    },
}
path = pathlib.Path(__file__).with_name("numpyRandom.json")
path.write_text(json.dumps(out) + "\n")
print(path.name, path.stat().st_size, "bytes")
