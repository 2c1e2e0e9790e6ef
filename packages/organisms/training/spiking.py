"""Trains a spiking organism and writes its folder: network.nir, config.json, loss.csv, provenance.json, README.md, golden.json.

    python spiking.py ../models/spiking-a --seed 1
    python spiking.py ../models/spiking-b --seed 2

A recurrent population of current-based leaky neurons learns spiking_trials.py by backpropagation through time with a
surrogate gradient. Its steps are those of NIR's equations by forward Euler (the preset `spec` of packages/spiking).
What is written down, spikes and accuracies, is computed in double precision from the .nir file, read back.
"""
import argparse
import hashlib
import json
import math
import os
import time

import nir
import numpy as np
import torch

from spiking_trials import CHANNELS, EVIDENCE, RESPONSE, STEPS as TRIAL_STEPS, digest, make_trials

DT, TAU_MEM, TAU_SYN, TAU_OUT = 0.005, 0.02, 0.05, 0.025
N_UNITS, N_OUT = 96, 2
TRAIN_SEED, TEST_SEED, N_TRAIN, N_TEST, N_GOLDEN = 1, 2, 20000, 2000, 4
BATCH, STEPS, PEAK, RATE, SLOPE = 100, 700, 3e-3, 0.06, 10.0


class Spike(torch.autograd.Function):
    """v > 0, with the derivative of a fast sigmoid."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad / (1 + SLOPE * v.abs()) ** 2


def decay(tau):
    return 1 - DT / tau


class Network(torch.nn.Module):
    """Gains are 1 in training: in the file w_in = tau_syn / dt and r = tau_mem / dt."""

    def __init__(self):
        super().__init__()
        self.w_in = torch.nn.Parameter(0.15 * torch.randn(N_UNITS, len(CHANNELS)))
        self.b_in = torch.nn.Parameter(torch.zeros(N_UNITS))
        self.w_rec = torch.nn.Parameter(0.03 * torch.randn(N_UNITS, N_UNITS))
        self.w_out = torch.nn.Parameter(0.1 * torch.randn(N_OUT, N_UNITS))

    def forward(self, x):
        drive = x @ self.w_in.T + self.b_in
        i = v = z = x.new_zeros(len(x), N_UNITS)
        u = x.new_zeros(len(x), N_OUT)
        spikes, outs = [], []
        w_rec = self.w_rec.T
        for t in range(x.shape[1]):
            i = decay(TAU_SYN) * i + drive[:, t] + z @ w_rec
            v = decay(TAU_MEM) * v + i
            z = Spike.apply(v - 1)
            v = v * (1 - z.detach())
            u = decay(TAU_OUT) * u + z @ self.w_out.T
            spikes.append(z)
            outs.append(u)
        return torch.stack(spikes, 1), torch.stack(outs, 1)


def rate_loss(spikes):
    """Units neither silent nor fast: a rate per unit near RATE, over all trials and steps."""
    rate = spikes.mean((0, 1))
    return ((rate - RATE) ** 2).mean() + 4 * torch.relu(rate - 0.2).pow(2).mean()


def train(seed, log, limit):
    torch.manual_seed(seed)
    net = Network()
    x, labels = make_trials(N_TRAIN, TRAIN_SEED)
    answers = torch.from_numpy(labels["answer"])
    x = torch.from_numpy(x)
    optimizer = torch.optim.Adam(net.parameters(), lr=PEAK)
    rows, start = [], time.time()
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / STEPS)))
        chosen = torch.randint(N_TRAIN, (BATCH,))
        spikes, outs = net(x[chosen].float())
        logits = outs[:, RESPONSE:].mean(1)
        loss = torch.nn.functional.cross_entropy(logits, answers[chosen])
        total = loss + 5 * rate_loss(spikes)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        accuracy = (logits.argmax(1) == answers[chosen]).float().mean().item()
        rows.append((loss.item(), accuracy, spikes.mean().item()))
        if step % 20 == 0:
            mean = [sum(r[k] for r in rows[-20:]) / 20 for k in range(3)]
            log.append((step, *mean, optimizer.param_groups[0]["lr"], time.time() - start))
            print("step %d  loss %.4f  accuracy %.3f  rate %.3f  lr %.5f  %.0f s" % log[-1], flush=True)
        if time.time() - start > limit:
            break
    return net, step, time.time() - start, digest(x.numpy(), labels)


def write_nir(net, path):
    f = lambda p: p.detach().numpy().astype(np.float32)
    fill = lambda n, value: np.full(n, value, np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([len(CHANNELS)])}),
        "fc_in": nir.Affine(f(net.w_in), f(net.b_in)),
        "recurrent": nir.CubaLIF(
            tau_syn=fill(N_UNITS, TAU_SYN), tau_mem=fill(N_UNITS, TAU_MEM), r=fill(N_UNITS, TAU_MEM / DT),
            v_leak=fill(N_UNITS, 0), v_threshold=fill(N_UNITS, 1), v_reset=fill(N_UNITS, 0), w_in=fill(N_UNITS, TAU_SYN / DT),
        ),
        "w_rec": nir.Linear(f(net.w_rec)),
        "fc_out": nir.Linear(f(net.w_out)),
        "readout": nir.LI(tau=fill(N_OUT, TAU_OUT), r=fill(N_OUT, TAU_OUT / DT), v_leak=fill(N_OUT, 0)),
        "output": nir.Output({"output": np.array([N_OUT])}),
    }
    edges = [
        ("input", "fc_in"), ("fc_in", "recurrent"), ("recurrent", "w_rec"), ("w_rec", "recurrent"),
        ("recurrent", "fc_out"), ("fc_out", "readout"), ("readout", "output"),
    ]
    nir.write(path, nir.NIRGraph(nodes, edges))


def simulate(path, x):
    """The file's network in double precision: spikes [trial, step, unit], output [trial, step, 2], least |v - threshold|."""
    nodes = nir.read(path).nodes
    d = lambda a: torch.from_numpy(np.asarray(a, np.float64))
    n, li, x = nodes["recurrent"], nodes["readout"], d(x)
    i = v = z = x.new_zeros(len(x), N_UNITS)
    u = x.new_zeros(len(x), N_OUT)
    w_in, b_in, w_rec, w_out = d(nodes["fc_in"].weight), d(nodes["fc_in"].bias), d(nodes["w_rec"].weight), d(nodes["fc_out"].weight)
    spikes, outs, margin = [], [], math.inf
    for t in range(x.shape[1]):
        i = i * (1 - DT / d(n.tau_syn)) + (DT / d(n.tau_syn) * d(n.w_in)) * (x[:, t] @ w_in.T + b_in + z @ w_rec.T)
        v = v * (1 - DT / d(n.tau_mem)) + (DT / d(n.tau_mem) * d(n.r)) * i
        margin = min(margin, (v - d(n.v_threshold)).abs().min().item())
        z = (v > d(n.v_threshold)).double()
        v = torch.where(z > 0, d(n.v_reset), v)
        u = u * (1 - DT / d(li.tau)) + (DT / d(li.tau) * d(li.r)) * (z @ w_out.T)
        spikes.append(z)
        outs.append(u)
    return torch.stack(spikes, 1), torch.stack(outs, 1), margin


def wilson(k, n):
    p, z = k / n, 1.959963984540054
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round((centre - half) / (1 + z * z / n), 4), round((centre + half) / (1 + z * z / n), 4)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--limit", type=float, default=900, help="seconds after which training stops")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.folder, exist_ok=True)
    log = []
    net, steps, seconds, train_digest = train(args.seed, log, args.limit)
    path = os.path.join(args.folder, "network.nir")
    write_nir(net, path)
    finish(args.folder, args.seed, log, steps, seconds, train_digest)


def finish(folder, seed, log, steps, seconds, train_digest):
    path = os.path.join(folder, "network.nir")
    write = lambda name, text: open(os.path.join(folder, name), "w").write(text)
    dump = lambda name, value: write(name, json.dumps(value, indent=2) + "\n")
    x, labels = make_trials(N_TEST, TEST_SEED)
    spikes, outs, margin = simulate(path, x)
    choice = (outs[:, RESPONSE:, 1].sum(1) > outs[:, RESPONSE:, 0].sum(1)).long().numpy()
    right = choice == labels["answer"]
    evaluation = {}
    for k, name in enumerate(("remember", "report")):
        for level in (None, 0, 1, 2):
            some = (labels["task"] == k) & (True if level is None else labels["level"] == level)
            if level is not None and k == 1:
                continue
            evaluation[name if level is None else f"{name}, {('easy', 'middling', 'hard')[level]}"] = {
                "n": int(some.sum()), "accuracy": round(float(right[some].mean()), 4), "interval": wilson(int(right[some].sum()), int(some.sum())),
            }
    golden_x, golden_labels = make_trials(N_GOLDEN, TEST_SEED)
    golden, golden_out, golden_margin = simulate(path, golden_x)
    events = golden.nonzero().tolist()
    units = [[[] for _ in range(golden.shape[1])] for _ in range(N_GOLDEN)]
    for trial, t, unit in events:
        units[trial][t].append(unit)
    data = open(path, "rb").read()
    write("golden.json", json.dumps({
        "what": "Spikes of the first test trials, simulated by training/spiking.py (PyTorch, double precision) from network.nir.",
        "trials": {"n": N_GOLDEN, "seed": TEST_SEED, "sha256": digest(golden_x, golden_labels)},
        "margin": golden_margin,
        "spikes": [[" ".join(map(str, step)) for step in trial] for trial in units],
        "output": [[round(value, 12) for value in golden_out[trial, -1].tolist()] for trial in range(N_GOLDEN)],
    }, separators=(",", ":")) + "\n")
    dump("config.json", {
        "file": "network.nir", "dt": DT, "preset": "spec", "population": "recurrent",
        "channels": CHANNELS, "outputs": ["left", "right"], "task": "evidence, delay, remember or report",
    })
    write("loss.csv", "step,loss,accuracy,spikes_per_unit_and_step,learning_rate,seconds\n"
          + "".join("%d,%.4f,%.3f,%.4f,%.6f,%.0f\n" % row for row in log))
    rates = spikes.mean((0, 1))
    provenance = {
        "what": "Everything this network was trained on: generated trials, no data.",
        "training": {
            "seed": seed, "steps": steps, "batch": BATCH, "peakLearningRate": PEAK, "optimizer": "Adam", "surrogate": f"fast sigmoid, slope {SLOPE:g}",
            "targetRate": RATE, "seconds": round(seconds), "threads": 1, "trials": {"n": N_TRAIN, "seed": TRAIN_SEED, "sha256": train_digest},
        },
        "evaluation": {"trials": {"n": N_TEST, "seed": TEST_SEED, "sha256": digest(x, labels)}, "accuracy": evaluation,
                       "meanRate": round(float(rates.mean()), 4), "silentUnits": int((rates == 0).sum()), "leastMargin": margin},
        "versions": {"torch": torch.__version__, "nir": nir.__version__, "numpy": np.__version__},
        "nir": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)},
    }
    dump("provenance.json", provenance)
    write("README.md", card(os.path.basename(folder.rstrip("/")), provenance))
    print(json.dumps(evaluation), provenance["evaluation"]["meanRate"], provenance["evaluation"]["silentUnits"], margin, len(data))


def card(name, p):
    t, e = p["training"], p["evaluation"]
    rows = "\n".join(f"| {task} | {100 * r['accuracy']:.1f}% | {r['interval'][0]:.3f} to {r['interval'][1]:.3f} | {r['n']} |" for task, r in e["accuracy"].items())
    return f"""---
license: mit
library_name: nir
tags: [model-organism, spiking, working-memory]
---

# Penfield {name}

A small recurrent spiking network made to be lesioned. It was trained without looking at any localisation or lesion result.

| | |
|---|---|
| Network | {len(CHANNELS)} inputs, {N_UNITS} recurrent current-based leaky integrate-and-fire units (`recurrent`), 2 leaky outputs (`readout`) |
| Time | steps of {1000 * DT:g} ms; membranes {1000 * TAU_MEM:g} ms, synapses {1000 * TAU_SYN:g} ms, outputs {1000 * TAU_OUT:g} ms |
| Convention | forward Euler, threshold passed strictly, reset to 0 in the same step, the synapse before the membrane, recurrent spikes one step later: preset `spec` |
| Task | {EVIDENCE} steps of pulses left and right, {RESPONSE - EVIDENCE} of nothing, {TRIAL_STEPS - RESPONSE} with a cue: `remember` (which side had pulsed more?) or `report` (which side pulses now?). The answer is the output with the larger sum over the last {TRIAL_STEPS - RESPONSE} steps |
| Training | {t['steps']} steps of {t['batch']} trials, Adam, peak rate {t['peakLearningRate']}, surrogate gradient ({t['surrogate']}), rates drawn towards {t['targetRate']} spikes per step; seed {t['seed']}; {t['seconds']} s on one CPU thread |
| File | `network.nir`, {p['nir']['bytes']} bytes, SHA-256 `{p['nir']['sha256']}` |
| Checked | `golden.json`: spikes of {N_GOLDEN} trials from PyTorch in double precision; least distance of any membrane from its threshold over all test trials {e['leastMargin']:.1e} |

## Held-out trials

{e['trials']['n']} trials of a seed of their own; chance is 50 %. Intervals are Wilson's, 95 %.

| Trials | Accuracy | 95 % interval | Trials |
|---|---:|---|---:|
{rows}

Units spike on {100 * e['meanRate']:.1f} % of steps on average ({e['meanRate'] / DT:.0f} Hz); {e['silentUnits']} of {N_UNITS} are silent. The answer to `remember` is the side with more
pulses, which may be more by a single one.

The recipe was changed once, on accuracy alone: with synapses of 100 ms and a delay of 30 steps a first network did the task within a minute of training.

There is no data: every trial comes from a seed (`probes/spiking-lesions/task.ts`, `training/spiking_trials.py`: the same bytes).
`provenance.json` has the hashes of the trials, `loss.csv` the training curve.
"""


if __name__ == "__main__":
    main()
