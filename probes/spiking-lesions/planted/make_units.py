"""Writes planted/units.nir: nine units whose answers are known, because their weights are written by hand.

    python make_units.py      (needs nir, numpy: packages/organisms/training/requirements.txt)

For dt = 1. Channels: two of A, two of B, a cue, and one that no test names. A unit spikes in the step in which more than half comes in:
0 at A, 1 at B, 2 at A and B together, 3 from step 21 on whatever comes in (a slow membrane), 4 three steps after A, 5 at A if A came three steps
before too, 6 at the unnamed channel, 7 never, 8 at the cue.
"""
import os

import nir
import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
N = 9
now, before, bias = np.zeros((N, 6)), np.zeros((N, 6)), np.zeros(N)
A, B, CUE, HIDDEN = [0, 1], [2, 3], 4, 5
now[0, A] = 1
now[1, B] = 1
now[2, A + B] = 0.3
bias[3] = 1
before[4, A] = 1
now[5, A] = before[5, A] = 0.3
now[6, HIDDEN] = 1
now[8, CUE] = 1
tau, reset = np.ones(N), np.zeros(N)
tau[3], reset[3] = 30, 0.49
f = lambda a: np.asarray(a, np.float32)
nodes = {
    "input": nir.Input({"input": np.array([6])}),
    "now": nir.Affine(f(now), f(bias)),
    "wait": nir.Delay(f(np.full(6, 3))),
    "before": nir.Linear(f(before)),
    "lif": nir.LIF(tau=f(tau), r=f(np.ones(N)), v_leak=f(np.zeros(N)), v_threshold=f(np.full(N, 0.5)), v_reset=f(reset)),
    "output": nir.Output({"output": np.array([N])}),
}
edges = [("input", "now"), ("now", "lif"), ("input", "wait"), ("wait", "before"), ("before", "lif"), ("lif", "output")]
nir.write(os.path.join(here, "units.nir"), nir.NIRGraph(nodes, edges))
