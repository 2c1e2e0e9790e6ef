"""The side of snnTorch and Brian2 in `npm run bench -- spiking`: one job per line of standard input.

    python peers_spiking.py FOLDER THREADS

A line is {"job": name, "peer": "snntorch" | "brian2", "record": bool, "save": bool}; weights and inputs are the .npy files that
Penfield's side wrote to FOLDER/<job>. The answer is {"seconds": s, "processor": s}; with "save" the spikes are written
there too. Networks are built, and Brian2's code compiled, before anything is timed.
"""

import importlib.metadata
import json
import os
import pathlib
import sys
import time
import warnings

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)
warnings.simplefilter("ignore")
import numpy as np  # noqa: E402

about = {"python": sys.version.split()[0]}
try:
    import snntorch
    import torch

    torch.set_num_threads(threads)
    about["snntorch"] = importlib.metadata.version("snntorch")
    about["torch"] = torch.__version__
except ImportError:
    snntorch = None
try:
    import brian2

    brian2.prefs.codegen.target = "cython"
    brian2.BrianLogger.log_level_error()
    about["brian2"] = brian2.__version__
except ImportError:
    brian2 = None


def feed_forward(job):
    def array(name):
        return torch.from_numpy(np.load(folder / job / f"{name}.npy").astype(np.float32))

    x = array("input").permute(1, 0, 2).contiguous()  # [step, row, unit]
    layers = []
    for name in ("fc1", "fc2"):
        weight = array(name)
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        lif = snntorch.Leaky(beta=0.9, threshold=1.0, reset_mechanism="zero", reset_delay=False)
        layers.append((linear, lif))
    (fc1, lif1), (fc2, lif2) = layers

    def run(record):
        hidden, out = [], []
        with torch.no_grad():
            mem1, mem2 = lif1.reset_mem(), lif2.reset_mem()
            for t in range(x.shape[0]):
                spk1, mem1 = lif1(fc1(x[t]), mem1)
                spk2, mem2 = lif2(fc2(spk1), mem2)
                out.append(spk2)
                if record:
                    hidden.append(spk1)
            result = torch.stack(out)
            return result, torch.stack(hidden) if record else None

    def save():
        out, hidden = run(True)
        for name, values in (("out", out), ("hidden", hidden)):
            spikes = values.permute(1, 0, 2).contiguous().numpy().astype(np.uint8)
            np.save(folder / job / f"snntorch_{name}.npy", spikes)

    return lambda record: run(record), lambda: None, save


def recurrent(job):
    def array(name):
        return np.load(folder / job / f"{name}.npy")

    drive, weight = array("drive"), array("weight")  # [n], [out, in]
    n = len(drive)
    brian2.defaultclock.dt = 0.1 * brian2.ms
    units = brian2.NeuronGroup(
        n, "dv/dt = (I - v) / (20*ms) : 1\nI : 1", threshold="v > 1", reset="v = 0", method="euler"
    )
    units.I = drive
    synapses = brian2.Synapses(units, units, "w : 1", on_pre="v_post += w")
    target, source = np.nonzero(weight)
    synapses.connect(i=source, j=target)
    synapses.w = weight[target, source]
    # After the reset, so that a unit that spikes keeps what arrives.
    synapses.pre.when = "end"
    monitor = brian2.SpikeMonitor(units)
    network = brian2.Network(units, synapses, monitor)
    network.run(1 * brian2.ms)

    def prepare():
        units.v = 0

    def run(record):
        monitor.active = record
        network.run(1 * brian2.second)

    def save():
        prepare()
        start = float(network.t)
        before = monitor.num_spikes
        run(True)
        step = np.rint((np.asarray(monitor.t)[before:] - start) / 1e-4).astype(np.int32)
        unit = np.asarray(monitor.i)[before:].astype(np.int32)
        np.save(folder / job / "brian2_spikes.npy", np.stack([step, unit]).astype(np.int32))

    return run, prepare, save


jobs = {}
print(json.dumps(about), flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    if (snntorch if ask["peer"] == "snntorch" else brian2) is None:
        print(json.dumps({"missing": True}), flush=True)
        continue
    job = ask["job"]
    if job not in jobs:
        jobs[job] = (feed_forward if ask["peer"] == "snntorch" else recurrent)(job)
    run, prepare, save = jobs[job]
    if ask.get("save"):
        save()
    prepare()
    start, before = time.perf_counter(), time.process_time()
    run(ask["record"])
    answer = {"seconds": time.perf_counter() - start, "processor": time.process_time() - before}
    print(json.dumps(answer), flush=True)
