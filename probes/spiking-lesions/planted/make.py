"""Writes planted/network.nir: a spiking network whose memory is known, because it is built by hand.

    python make.py            (needs nir, numpy, torch: packages/organisms/training/requirements.txt)

Units 5, 10, ... 60 of 64 (truth in config.json) are two groups of six that excite themselves and inhibit each other: pulses of
one side ignite its group, which goes on through the delay. Units 1, 2, 3, 4 relay pulses that come with the cue to the outputs.
All others answer to pulses of both sides alike, excite each other at random, and lead nowhere.
"""
import json
import os
import sys

import nir
import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../../packages/organisms/training"))
DT, TAU_MEM, TAU_SYN, TAU_OUT, N = 0.005, 0.02, 0.05, 0.025, 64


def build(own=0.022, other=-0.02, pulse=0.1, seed=5):
    rng = np.random.default_rng(seed)
    memory = [np.arange(5, 31, 5), np.arange(35, 61, 5)]
    now = [np.array([1, 2]), np.array([3, 4])]
    rest = np.setdiff1d(np.arange(N), np.concatenate(memory + now))
    w_in, bias, w_rec, w_out = np.zeros((N, 6)), np.zeros(N), np.zeros((N, N)), np.zeros((2, N))
    for side in (0, 1):
        mine, theirs = memory[side], memory[1 - side]
        w_in[mine, side] = pulse * rng.uniform(0.7, 1.3, 6)
        bias[mine] = rng.uniform(-0.004, 0.004, 6)  # no two of a group keep step, or their statistics would tie
        w_rec[np.ix_(mine, mine)] = own * rng.uniform(0.6, 1.4, (6, 6))
        w_rec[np.ix_(mine, theirs)] = other
        w_in[now[side], 2 + side] = 1.2
        w_out[side, mine] = 0.2
        w_out[side, now[side]] = 3.0
    w_in[np.ix_(rest, [0, 1])] = (0.12 * rng.uniform(0.5, 1.5, len(rest)))[:, None]
    bias[rest] = 0.026 * rng.uniform(0.8, 1.4, len(rest))
    w_rec[np.ix_(rest, rest)] = 0.006 * rng.standard_normal((len(rest), len(rest)))
    fill = lambda n, value: np.full(n, value, np.float32)
    f = lambda a: a.astype(np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([6])}),
        "fc_in": nir.Affine(f(w_in), f(bias)),
        "recurrent": nir.CubaLIF(
            tau_syn=fill(N, TAU_SYN), tau_mem=fill(N, TAU_MEM), r=fill(N, TAU_MEM / DT), v_leak=fill(N, 0),
            v_threshold=fill(N, 1), v_reset=fill(N, 0), w_in=fill(N, TAU_SYN / DT),
        ),
        "w_rec": nir.Linear(f(w_rec)),
        "fc_out": nir.Linear(f(w_out)),
        "readout": nir.LI(tau=fill(2, TAU_OUT), r=fill(2, TAU_OUT / DT), v_leak=fill(2, 0)),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [
        ("input", "fc_in"), ("fc_in", "recurrent"), ("recurrent", "w_rec"), ("w_rec", "recurrent"),
        ("recurrent", "fc_out"), ("fc_out", "readout"), ("readout", "output"),
    ]
    nir.write(os.path.join(here, "network.nir"), nir.NIRGraph(nodes, edges))
    with open(os.path.join(here, "config.json"), "w") as file:
        json.dump({
            "file": "network.nir", "dt": DT, "preset": "spec", "population": "recurrent",
            "planted": sorted(int(u) for group in memory for u in group),
        }, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    import spiking
    from spiking_trials import RESPONSE, make_trials
    build()
    spiking.N_UNITS = N
    x, labels = make_trials(600, 9)
    _, outs, margin = spiking.simulate(os.path.join(here, "network.nir"), x)
    right = (outs[:, RESPONSE:, 1].sum(1) > outs[:, RESPONSE:, 0].sum(1)).long().numpy() == labels["answer"]
    print("remember %.3f report %.3f" % tuple(right[labels["task"] == k].mean() for k in (0, 1)), "margin", margin)
