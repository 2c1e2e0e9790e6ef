"""Makes preparation.json: reference values for packages/recordings/src/preparation.

    python3 test/golden/make_preparation.py

Also for the floors of packages/align. Filters, detrending and resampling by scipy, haemodynamic responses and regressors by nilearn, regressions by
numpy's least squares, Lanczos interpolation by its formula; versions and seed are in the file.
"""
import json
import pathlib

import nilearn
import numpy as np
import scipy
from nilearn.glm.first_level import hemodynamic_models as hm
from scipy import ndimage, signal

SEED = 20261123
rng = np.random.default_rng(SEED)


def walk(n, m):
    return np.cumsum(rng.normal(size=(n, m)), axis=0)


def listed(x):
    return np.asarray(x, dtype=float).tolist()


x = walk(90, 2)
filters = []
for kind, order, cutoff, rate in [
    ("highpass", 4, 1.0, 100.0),
    ("highpass", 3, 0.01, 0.5),
    ("lowpass", 4, 30.0, 100.0),
    ("lowpass", 5, 0.1, 0.5),
    ("bandpass", 3, [8.0, 13.0], 100.0),
    ("bandpass", 4, [1.0, 40.0], 128.0),
    ("bandstop", 2, [48.0, 52.0], 250.0),
]:
    sections = signal.butter(order, cutoff, btype=kind, output="sos", fs=rate)
    filters.append({"kind": kind, "order": order, "cutoff": cutoff, "rate": rate,
                    "y": listed(signal.sosfiltfilt(sections, x, axis=0))})
notches = []
for frequency, quality, rate in [(50.0, 30.0, 250.0), (60.0, 10.0, 1000.0)]:
    sections = signal.tf2sos(*signal.iirnotch(frequency, quality, fs=rate))
    notches.append({"frequency": frequency, "quality": quality, "rate": rate,
                    "y": listed(signal.sosfiltfilt(sections, x, axis=0))})

resampled = [
    {"up": up, "down": down, "y": listed(signal.resample_poly(x, up, down, axis=0, padtype="line"))}
    for up, down in [(1, 2), (1, 5), (3, 2), (2, 3), (25, 64)]
]

N, TR, CUTOFF = 90, 2.0, 128.0
columns = int(np.fix(2 * N * TR / CUTOFF + 1))
basis = np.array([np.sqrt(2 / N) * np.cos(np.pi * (2 * np.arange(N) + 1) * k / (2 * N)) for k in range(1, columns)]).T
cosines = {"trSeconds": TR, "cutoffSeconds": CUTOFF, "basis": listed(basis), "y": listed(x - basis @ (basis.T @ x))}

confounds = rng.normal(size=(90, 3))
confounds[:, 2] = 2 * confounds[:, 0] - confounds[:, 1] + 1  # dependent, with the intercept


def residual(design, y):
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


derivatives = np.vstack([np.zeros(3), np.diff(confounds, axis=0)])
expanded = np.hstack([confounds, derivatives, confounds**2, derivatives**2])
regression = {
    "confounds": listed(confounds),
    "plain": listed(residual(np.hstack([np.ones((90, 1)), confounds]), x)),
    "expanded": listed(residual(np.hstack([np.ones((90, 1)), expanded]), x)),
}

hrf = {}
for name in ["spm", "glover"]:
    for derivative in ["", "_time_derivative", "_dispersion_derivative"]:
        make = getattr(hm, f"{name}{derivative}" if derivative else f"{name}_hrf")
        hrf[f"{name}{derivative}"] = listed(make(2.0, oversampling=8))

onsets = np.array([3.0, 17.3, 40.0, 41.5, 77.0, 101.9])
durations = np.array([0.0, 4.0, 10.0, 1.0, 0.0, 2.5])
times = np.arange(60) * TR
regressors = {}
for model in ["spm", "glover", "spm + derivative + dispersion", "glover + derivative + dispersion"]:
    values, names = hm.compute_regressor((onsets, durations, np.ones(6)), model, times, oversampling=50)
    regressors[model] = listed(values)

n_events = 12
event_onsets = 4 + 9 * np.arange(n_events) + rng.uniform(-1, 1, n_events)
frames = 64
design = np.hstack([
    hm.compute_regressor((np.array([t]), np.array([1.0]), np.ones(1)), "spm", np.arange(frames) * TR)[0][:, :1]
    for t in event_onsets
])
nuisance = np.hstack([np.ones((frames, 1)), np.linspace(-1, 1, frames)[:, None]])
y = design @ rng.normal(size=(n_events, 3)) + 0.1 * rng.normal(size=(frames, 3)) + 5
separate = []
for i in range(n_events):
    others = np.delete(design, i, axis=1).sum(axis=1, keepdims=True)
    full = np.hstack([design[:, i:i + 1], others, nuisance])
    separate.append(np.linalg.lstsq(full, y, rcond=None)[0][0])
glm = {
    "onsets": listed(event_onsets), "trSeconds": TR, "y": listed(y), "design": listed(design), "nuisance": listed(nuisance),
    "together": listed(np.linalg.lstsq(np.hstack([design, nuisance]), y, rcond=None)[0][:n_events]),
    "separate": listed(separate),
}

words = np.sort(rng.uniform(0, 40, 60))
features = rng.normal(size=(60, 2))
samples = 1.0 + 2.0 * np.arange(20)


def lanczos(cutoff_multiplier, window):
    t = (1 / np.mean(np.diff(samples)) * cutoff_multiplier) * (samples[:, None] - words[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = window * np.sin(np.pi * t) * np.sin(np.pi * t / window) / (np.pi**2 * t**2)
    weights[t == 0] = 1
    weights[np.abs(t) > window] = 0
    return weights @ features


gaussian = [
    {"size": size, "width": width, "blurred": listed(ndimage.gaussian_filter1d(np.eye(size), width, axis=1))}
    for size, width in [(1, 1.0), (3, 2.0), (6, 0.5), (7, 1.3)]
]

json.dump({
    "seed": SEED,
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "nilearn": nilearn.__version__},
    "x": listed(x),
    "filters": filters,
    "notches": notches,
    "resampled": resampled,
    "detrended": listed(signal.detrend(x, axis=0)),
    "cosines": cosines,
    "regression": regression,
    "hrf": hrf,
    "regressors": {"onsets": listed(onsets), "durations": listed(durations), "trSeconds": TR, "values": regressors},
    "glm": glm,
    "gaussian": gaussian,
    "lanczos": {"onsets": listed(words), "features": listed(features), "times": listed(samples),
                "window3": listed(lanczos(1.0, 3)), "window2": listed(lanczos(0.5, 2))},
}, (pathlib.Path(__file__).parent / "preparation.json").open("w"))
