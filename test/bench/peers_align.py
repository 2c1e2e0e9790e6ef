"""The side of himalaya and scikit-learn in `npm run bench -- align`: one job per line of standard input.

    python peers_align.py FOLDER THREADS

A line is {"job": name, "peer": name, "memory": bool}; inputs are the .npy files that Penfield's side wrote to FOLDER/<job>.
The answer is {"seconds": s, "processor": s, "over": MiB}; results are written there too, outside the measured time.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import sys
import time
import warnings

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)
warnings.simplefilter("ignore")
import numpy as np  # noqa: E402
from himalaya.kernel_ridge import MultipleKernelRidgeCV  # noqa: E402
from himalaya.ridge import GroupRidgeCV, RidgeCV  # noqa: E402
from sklearn.linear_model import RidgeCV as SklearnRidgeCV  # noqa: E402

ALPHAS = np.logspace(0, 9, 10).astype(np.float32)


def ridge(batch):
    def run(x):
        model = RidgeCV(alphas=ALPHAS, cv=5, fit_intercept=True, solver_params={"n_targets_batch": batch}).fit(x["x"], x["y"])
        return {"alphas": model.best_alphas_, "scores": model.cv_scores_}

    return run


def sklearn_loo(x):
    model = SklearnRidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x["x"], x["y"])
    return {"alphas": model.alpha_, "scores": model.best_score_}


def banded(x):
    p = x["x"].shape[1] // 2
    params = {"n_iter": x["weights"], "alphas": ALPHAS, "progress_bar": False}
    model = GroupRidgeCV(groups=[0] * p + [1] * p, cv=5, fit_intercept=True, solver_params=params)
    model.fit(x["x"], x["y"])
    return {"deltas": model.deltas_, "scores": model.cv_scores_}


def kernels(x):
    params = {"n_iter": x["weights"], "alphas": ALPHAS, "progress_bar": False}
    model = MultipleKernelRidgeCV(kernels="precomputed", solver="random_search", cv=5, solver_params=params)
    model.fit(x["kernels"], x["y"])
    return {"deltas": model.deltas_, "scores": model.cv_scores_}


def time_loop(x):
    n, sensors = (int(v) for v in x["n"])
    out = np.empty((len(x["x"]) - n, x["y"].shape[1]), dtype=np.float32)
    for start in range(0, x["y"].shape[1], sensors):
        some = slice(start, start + sensors)
        model = RidgeCV(alphas=ALPHAS, cv=5, fit_intercept=True).fit(x["x"][:n], np.ascontiguousarray(x["y"][:n, some]))
        out[:, some] = model.predict(x["x"][n:])
    return {"predicted": out}


def time_once(x):
    n = int(x["n"][0])
    model = RidgeCV(alphas=ALPHAS, cv=5, fit_intercept=True, solver_params={"n_targets_batch": 2000}).fit(x["x"][:n], x["y"][:n])
    return {"predicted": model.predict(x["x"][n:])}


JOBS = {
    ("ridge", "himalaya"): ridge(None),
    ("ridge", "himalaya-2000"): ridge(2000),
    ("ridge-1000", "himalaya"): ridge(None),
    ("ridge-1000", "sklearn-loo"): sklearn_loo,
    ("banded", "himalaya"): banded,
    ("kernels", "himalaya"): kernels,
    ("time", "himalaya-loop"): time_loop,
    ("time", "himalaya-once"): time_once,
}


def field(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", status, re.M).group(1)) / 1024


names = ("numpy", "scipy", "scikit-learn", "himalaya")
print(json.dumps({n: importlib.metadata.version(n) for n in names}), flush=True)
last, inputs = "", {}
for line in sys.stdin:
    job = json.loads(line)
    if job["job"] != last:
        last = job["job"]
        files = (folder / last).glob("*.npy")
        inputs = {f.stem: np.load(f) for f in files if not f.stem.startswith("of-")}
    if job.get("memory"):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = field("VmRSS")
    start, used = time.perf_counter(), time.process_time()
    found = JOBS[job["job"], job["peer"]](inputs)
    answer = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used}
    if job.get("memory"):
        answer["over"] = field("VmHWM") - before
    for name, values in found.items():
        np.save(folder / last / f"of-{name}.npy", np.ascontiguousarray(values))
    del found
    print(json.dumps(answer), flush=True)
