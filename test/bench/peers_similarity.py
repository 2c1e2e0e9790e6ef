"""The side of rsatoolbox, netrep and numpy in `npm run bench -- similarity`: one job per line of standard input.

    python peers_similarity.py FOLDER THREADS

A line is {"job": name, "peer": "numpy" | "rsatoolbox" | "netrep", "calls": n, "draws": n, "save": bool}; inputs are the .npy files
that Penfield's side wrote to FOLDER/<job>. The answer is {"seconds": s, ...}; with "save" the result is written there too.
netrep is not on PyPI: where it cannot be imported, its algorithms are ours in numpy, and the first line says so.
"""

import importlib.metadata
import itertools
import json
import os
import pathlib
import sys
import time
import warnings

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)
os.environ["TQDM_DISABLE"] = "1"
warnings.simplefilter("ignore")
import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # netrep wants it; numpy 2.4 has it no more.

about = {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__}
try:
    import rsatoolbox
    from rsatoolbox.inference import evaluate

    about["rsatoolbox"] = importlib.metadata.version("rsatoolbox")
except ImportError:
    rsatoolbox = None
try:
    import netrep
    from netrep.metrics import EnergyStochasticMetric, GaussianStochasticMetric, LinearMetric
    from netrep.multiset import pairwise_distances

    about["netrep"] = "its repository"
except ImportError:
    netrep = None
    about["netrep"] = "in numpy, by us"


class Inputs(dict):
    """A job's arrays, read when first asked for."""

    def __init__(self, job):
        super().__init__()
        self.job = job

    def __missing__(self, name):
        self[name] = np.load(folder / self.job / f"{name}.npy")
        return self[name]


def correlation_numpy(x, _):
    z = x["x"] - x["x"].mean(1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return (1 - z @ z.T)[np.triu_indices(len(z), 1)]


def correlation_rsatoolbox(x, _):
    data = rsatoolbox.data.Dataset(x["x"])
    return rsatoolbox.rdm.calc_rdm(data, method="correlation").dissimilarities[0]


def crossnobis_rsatoolbox(x, _):
    data = rsatoolbox.data.Dataset(
        x["x"], obs_descriptors={"condition": x["conditions"], "run": x["runs"]}
    )
    found = rsatoolbox.rdm.calc_rdm(
        data, method="crossnobis", descriptor="condition", noise=x["precision"], cv_descriptor="run"
    )
    return found.dissimilarities[0]


def bootstrap_rsatoolbox(method):
    def run(x, job):
        models = [
            rsatoolbox.model.ModelFixed(f"m{i}", rsatoolbox.rdm.RDMs(row[None]))
            for i, row in enumerate(x["models"])
        ]
        data = rsatoolbox.rdm.RDMs(x["data"])
        draws = []
        original = evaluate.bootstrap_sample_pattern

        def noting(*args, **kwargs):
            sample, index = original(*args, **kwargs)
            draws.append(index)
            return sample, index

        evaluate.bootstrap_sample_pattern = noting
        np.random.seed(1)
        result = evaluate.eval_bootstrap_pattern(models, data, method=method, N=job["draws"])
        evaluate.bootstrap_sample_pattern = original
        x["draws"] = np.array(draws, dtype=np.int32)
        return np.hstack([result.evaluations, np.array(result.noise_ceiling).T])

    return run


def cka_numpy(x, _):
    a, b = x["x"] - x["x"].mean(0), x["y"] - x["y"].mean(0)
    xy, xx, yy = (np.linalg.norm(p.T @ q) ** 2 for p, q in ((a, b), (a, a), (b, b)))
    return np.array([xy / np.sqrt(xx * yy)])


def filled(n, distances):
    out = np.zeros((n, n))
    for (i, j), d in zip(itertools.combinations(range(n), 2), distances):
        out[i, j] = out[j, i] = d
    return out


def shape_numpy(x, _):
    """The nuclear norm of the cross product of what is centred once; netrep makes the rotation and applies it."""
    z = x["x"] - x["x"].mean(1, keepdims=True)
    z /= np.linalg.norm(z, axis=(1, 2), keepdims=True)
    pairs = itertools.combinations(z, 2)
    return filled(
        len(z),
        [np.arccos(min(1, np.linalg.svd(a.T @ b, compute_uv=False).sum())) for a, b in pairs],
    )


def shape_netrep(x, _):
    if netrep is None:
        z = x["x"] - x["x"].mean(1, keepdims=True)
        out = []
        for a, b in itertools.combinations(z, 2):
            u, _, v = np.linalg.svd(a.T @ b)
            p, q = a @ u, b @ v.T
            out.append(np.arccos(np.sum(p * q) / np.linalg.norm(p) / np.linalg.norm(q)))
        return filled(len(z), out)
    metric = LinearMetric(alpha=1.0, score_method="angular")
    if threads == 1:
        return pairwise_distances(metric, list(x["x"]), verbose=False, enable_caching=True)
    # As its authors recommend: processes, each with one thread.
    with threadpool_limits(1):
        return metric.pairwise_distances(list(x["x"]), processes=threads, verbose=False)[0]


def procrustes(a, b):
    """The orthogonal t with a t nearest to b."""
    u, _, v = np.linalg.svd(a.T @ b)
    return u @ v


def gaussian_netrep(x, job):
    first, second = (x["meansX"], x["covariancesX"]), (x["meansY"], x["covariancesY"])
    if netrep is not None:
        metric = GaussianStochasticMetric(alpha=1.0, group="orth")
        distance = metric.fit_score(first, second)
        job["iterations"] = len(metric.loss_hist)
        x["transform"] = metric.T
        return np.array([distance])

    def roots(s):
        v, u = np.linalg.eigh(s)
        return (u * np.sqrt(np.maximum(v, 0))[:, None, :]) @ u.transpose(0, 2, 1)

    (mx, cx), (my, cy) = first, second
    sx, sy, t, losses = roots(cx), roots(cy), procrustes(my, mx), []
    for i in range(1000):
        q = [procrustes(t.T @ b, a) for a, b in zip(sx, sy)]
        a = np.vstack([mx, *sx])
        b = np.vstack([my, *(k.T @ r for k, r in zip(q, sy))])
        t = procrustes(b, a)
        losses.append(np.linalg.norm(a - b @ t))
        if i >= 2 and losses[-2] - losses[-1] < 1e-8:
            break
    job["iterations"] = len(losses)
    x["transform"] = t
    bures = [
        np.trace(a) + np.trace(b) - 2 * np.linalg.svd(ra @ t.T @ rb, compute_uv=False).sum()
        for a, b, ra, rb in zip(cx, cy, sx, sy)
    ]
    return np.array([np.sqrt(np.mean(np.sum((mx - my @ t) ** 2, 1) + bures))])


def energy_pair(x, y):
    """netrep's iteration on the stack of all pairs of trials, in numpy."""
    n, r, p = x.shape
    a, b = np.repeat(x, r, 1).reshape(-1, p), np.tile(y, (1, r, 1)).reshape(-1, p)
    w, last = np.ones(len(a)), np.linalg.norm(a - b, axis=1).mean()
    for _ in range(100):
        q = procrustes(w[:, None] * b, w[:, None] * a)
        off = np.linalg.norm(a - b @ q, axis=1)
        w = 1 / np.maximum(np.sqrt(off), 1e-6)
        if last - off.mean() < 1e-6:
            break
        last = off.mean()

    def within(z):
        d = np.linalg.norm(z[:, :, None] - z[:, None], axis=-1)
        return d.sum() / (n * r * (r - 1))

    turned = y @ q
    between = np.linalg.norm(x[:, :, None] - turned[:, None], axis=-1).mean()
    return np.sqrt(max(0, between - (within(x) + within(turned)) / 2))


def energy_netrep(x, _):
    networks = list(x["x"])
    pairs = itertools.combinations(networks, 2)
    if netrep is None:
        return filled(len(networks), [energy_pair(a, b) for a, b in pairs])
    metric = EnergyStochasticMetric()
    if threads == 1:
        return filled(len(networks), [metric.fit_score(a, b) for a, b in pairs])
    with threadpool_limits(1):
        return metric.pairwise_distances(networks, processes=threads, verbose=False)[0]


JOBS = {
    ("rdm", "numpy"): correlation_numpy,
    ("rdm", "rsatoolbox"): correlation_rsatoolbox,
    ("crossnobis", "rsatoolbox"): crossnobis_rsatoolbox,
    ("bootstrap-pearson", "rsatoolbox"): bootstrap_rsatoolbox("corr"),
    ("bootstrap-spearman", "rsatoolbox"): bootstrap_rsatoolbox("spearman"),
    ("bootstrap-whitened", "rsatoolbox"): bootstrap_rsatoolbox("corr_cov"),
    ("cka", "numpy"): cka_numpy,
    ("shape", "numpy"): shape_numpy,
    ("shape", "netrep"): shape_netrep,
    ("gaussian", "netrep"): gaussian_netrep,
    ("energy", "netrep"): energy_netrep,
    ("eigen", "numpy"): lambda x, _: np.linalg.eigh(x["x"])[0][::-1],
    ("eigenvalues", "numpy"): lambda x, _: np.linalg.eigvalsh(x["x"])[::-1],
    ("svd", "numpy"): lambda x, _: np.linalg.svd(x["x"], full_matrices=False)[1],
    ("singular-values", "numpy"): lambda x, _: np.linalg.svd(x["x"], compute_uv=False),
}



def processor_seconds():
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


print(json.dumps(about), flush=True)
inputs = Inputs("")
for line in sys.stdin:
    job = json.loads(line)
    work = JOBS[job["job"], job["peer"]]
    if job["peer"] == "rsatoolbox" and rsatoolbox is None:
        print(json.dumps({"missing": True}), flush=True)
        continue
    if inputs.job != job["job"]:
        inputs = Inputs(job["job"])
    for path in (folder / job["job"]).glob("*.npy"):
        if not path.stem.startswith("of-"):
            inputs[path.stem]  # reading is not timed
    start, used = time.perf_counter(), processor_seconds()
    for _ in range(job["calls"]):
        result = work(inputs, job)
    seconds = (time.perf_counter() - start) / job["calls"]
    used = (processor_seconds() - used) / job["calls"]
    if job["save"]:
        for name in ("draws", "transform"):
            if name in inputs:
                np.save(folder / job["job"] / f"of-{name}.npy", inputs[name])
        np.save(folder / job["job"] / "of-result.npy", np.ascontiguousarray(result))
    answer = {"seconds": seconds, "processor": used, "iterations": job.get("iterations")}
    print(json.dumps(answer), flush=True)
