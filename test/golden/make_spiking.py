"""Makes test/golden/spiking.json: networks in NIR, and what their own simulators, and torch, do with them.

  pip install numpy==2.3.5 nir==1.0.8 nirtorch==2.6 torch==2.15.0 snntorch==1.0.0 norse==1.1.0 sinabs==3.1.3 \\
    rockpool==3.1.0 spikingjelly==2.0.0 spyx==1.0.0
  python test/golden/make_spiking.py

Weights and inputs are drawn here from fixed seeds. Files are as nir.write() of 1.0.8 makes them (gzip within).
"""

import base64
import gzip
import json
import logging
import os
import tempfile
import warnings

import nir
import numpy as np
import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
cases = []
STEPS = 80


def chain(shape, nodes, out, extra=()):
    names = ["input", *nodes, "output"]
    edges = list(zip(names[:-1], names[1:])) + list(extra)
    every = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array(out))}
    return nir.NIRGraph(nodes=every, edges=edges, type_check=False)


def write(name, graph, dt, preset, x, simulator, spikes=None, output=None):
    """x [step, ...]; spikes {node: [step, unit]}; output [step, ...]."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.nir")
        nir.write(path, graph)
        file = gzip.compress(open(path, "rb").read(), 9, mtime=0)
    case = {
        "name": name,
        "simulator": simulator,
        "preset": preset,
        "dt": dt,
        "nir": base64.b64encode(file).decode(),
        "shape": list(x.shape),
        "input": [int(value) for value in x.ravel()],
    }
    assert np.array_equal(x.ravel(), case["input"]), "inputs are whole numbers"
    if spikes:
        # [step, unit, how many]
        case["spikes"] = {
            node: [[int(t), int(u), int(z[t, u])] for t, u in np.argwhere(z)]
            for node, z in spikes.items()
        }
        for node, z in spikes.items():
            print(f"{name:28} {node}: {int(z.sum())} spikes of {z.size}, most at once {int(z.max())}")
            assert 10 < np.count_nonzero(z) < 0.8 * z.size, "too few or too many spikes to tell"
    if output is not None:
        case["output"] = [float(f"{a:.12g}") for a in np.asarray(output, dtype=np.float64).ravel()]
    cases.append(case)


def drive(rng, n, density=0.35, steps=STEPS):
    return (rng.random((steps, n)) < density).astype(np.float32)


def weights(rng, n_out, n_in, scale):
    return (scale * rng.normal(size=(n_out, n_in)) + 0.5 * scale).astype(np.float32)


full = lambda n, value: np.full(n, value, dtype=np.float32)


# ---------------------------------------------------------------- torch: layers without neurons, float64
def torch_layers():
    rng = np.random.default_rng(1)
    double = lambda a: torch.from_numpy(np.asarray(a, dtype=np.float64))

    def conv(name, shape, n_out, kernel, **kw):
        groups = kw.get("groups", 1)
        flat = len(kernel) == 1
        w = rng.normal(size=(n_out, shape[0] // groups, *kernel)).astype(np.float32)
        b = rng.normal(size=n_out).astype(np.float32)
        module = (torch.nn.Conv1d if flat else torch.nn.Conv2d)(
            shape[0], n_out, kernel, bias=True, dtype=torch.float64, **kw
        )
        module.weight.data, module.bias.data = double(w), double(b)
        x = (rng.random((3, *shape)) < 0.5) * rng.integers(1, 4, size=(3, *shape))
        y = module(double(x)).detach().numpy()
        stride, padding = kw.get("stride", 1), kw.get("padding", 0)
        dilation = kw.get("dilation", 1)
        node = (nir.Conv1d if flat else nir.Conv2d)(
            input_shape=shape[1] if flat else tuple(shape[1:]),
            weight=w, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=b,
        )
        write(name, chain(shape, {"conv": node}, y.shape[1:]), 1.0, "spec", x.astype(np.float32), "torch", output=y)

    conv("conv1d_same_even", (2, 9), 4, (4,), padding="same", dilation=1)
    conv("conv1d_groups", (4, 11), 6, (3,), padding=2, dilation=2, stride=2, groups=2)
    conv("conv2d_same_even", (2, 6, 5), 3, (2, 4), padding="same", dilation=(2, 1))
    conv("conv2d_valid", (2, 7, 6), 3, (3, 2), padding="valid", stride=(2, 1))
    conv("conv2d_depthwise", (4, 6, 7), 8, (3, 3), padding=(1, 2), stride=(1, 2), dilation=(2, 1), groups=4)

    x = rng.integers(0, 3, size=(3, 2, 7, 6)).astype(np.float32)
    for name, node, module in [
        ("avgpool2d", nir.AvgPool2d, lambda t: torch.nn.functional.avg_pool2d(t, (3, 2), (2, 2), (1, 1))),
        ("sumpool2d", nir.SumPool2d, lambda t: 6 * torch.nn.functional.avg_pool2d(t, (3, 2), (2, 2), (1, 1))),
    ]:
        y = module(double(x)).numpy()
        pool = node(kernel_size=np.array([3, 2]), stride=np.array([2, 2]), padding=np.array([1, 1]))
        write(name, chain((2, 7, 6), {"pool": pool}, y.shape[1:]), 1.0, "spec", x, "torch", output=y)

    # Axes that a Linear leaves alone, a Flatten in the middle, a nested graph, an edge named twice.
    x = rng.integers(0, 3, size=(3, 2, 3, 4)).astype(np.float32)
    w = rng.normal(size=(5, 4)).astype(np.float32)
    w2 = rng.normal(size=(3, 15)).astype(np.float32)
    b2 = rng.normal(size=3).astype(np.float32)
    y = torch.nn.functional.linear(double(x), double(w))
    y = torch.nn.functional.linear(2 * torch.flatten(y, 2, 3), double(w2), double(b2)).numpy()
    inner = chain((2, 3, 5), {"flat.ten": nir.Flatten(input_type=np.array([2, 3, 5]), start_dim=1, end_dim=2)}, (2, 15))
    graph = chain(
        (2, 3, 4),
        {"linear": nir.Linear(w), "inner": inner, "affine": nir.Affine(w2, b2)},
        (2, 3),
        [("inner", "affine")],
    )
    write("linear_flatten_nested", graph, 1.0, "spec", x, "torch", output=y)


# ---------------------------------------------------------------- SpikingJelly
def spikingjelly():
    from spikingjelly.activation_based import nir_exchange

    dt = 1e-4
    for name, seed, make in [
        ("spikingjelly_lif", 1, lambda n: nir.LIF(tau=full(n, 8e-4), r=full(n, 8), v_leak=full(n, -0.1), v_threshold=full(n, 0.8), v_reset=full(n, -0.1))),
        ("spikingjelly_lif_decay", 2, lambda n: nir.LIF(tau=full(n, 5e-4), r=full(n, 1), v_leak=full(n, 0), v_threshold=full(n, 0.12), v_reset=full(n, 0))),
        ("spikingjelly_if", 3, lambda n: nir.IF(r=full(n, 1 / dt), v_threshold=full(n, 1), v_reset=full(n, -0.25))),
        ("spikingjelly_cuba", 4, lambda n: nir.CubaLIF(tau_syn=full(n, 4e-4), tau_mem=full(n, 1e-3), r=full(n, 10), v_leak=full(n, 0), v_threshold=full(n, 1), v_reset=full(n, 0.1), w_in=full(n, 4))),
    ]:
        rng = np.random.default_rng(seed)
        n = 5
        graph = chain((4,), {"fc": nir.Linear(weights(rng, n, 4, 0.3)), "neuron": make(n)}, (n,))
        model = nir_exchange.import_from_nir(graph, dt=dt, dtype=torch.float64)
        x = drive(rng, 4)
        state, out = None, []
        for t in range(STEPS):
            z, state = model(torch.from_numpy(x[t : t + 1]).double(), state)
            out.append(z.detach().numpy()[0])
        write(name, graph, dt, "spikingjelly", x, "spikingjelly 2.0.0", {"neuron": np.array(out)})


# ---------------------------------------------------------------- Norse
def norse():
    import norse.torch.utils.import_nir as importer

    dt = 1e-3
    for name, seed, make in [
        ("norse_lif", 5, lambda n: nir.LIF(tau=np.linspace(4e-3, 2e-2, n).astype(np.float32), r=full(n, 1), v_leak=full(n, 0.1), v_threshold=full(n, 0.5))),
        ("norse_cuba", 6, lambda n: nir.CubaLIF(tau_syn=np.linspace(3e-3, 6e-3, n).astype(np.float32), tau_mem=full(n, 8e-3), r=full(n, 2), v_leak=full(n, 0), v_threshold=full(n, 2), w_in=full(n, 3))),
    ]:
        rng = np.random.default_rng(seed)
        n = 5
        w = weights(rng, n, 4, 0.8)
        graph = chain((4,), {"fc": nir.Linear(w), "neuron": make(n)}, (n,))
        module = importer._import_norse_module(graph.nodes["neuron"], dt=dt).double()
        x = drive(rng, 4)
        state, out = None, []
        for t in range(STEPS):
            z, state = module(torch.from_numpy(x[t : t + 1] @ w.T).double(), state)
            out.append(z.detach().numpy()[0])
        write(name, graph, dt, "norse", x, "norse 1.1.0", {"neuron": np.array(out)})


# ---------------------------------------------------------------- snnTorch
def snntorch():
    from snntorch.import_nir import _nir_to_snntorch_module as load

    dt = 1e-4
    for name, seed, make in [
        ("snntorch_lif", 7, lambda n: nir.LIF(tau=full(n, 1e-3), r=full(n, 10), v_leak=full(n, 0), v_threshold=full(n, 0.9))),
        ("snntorch_cuba", 8, lambda n: nir.CubaLIF(tau_syn=full(n, 5e-4), tau_mem=full(n, 1e-3), r=full(n, 10), v_leak=full(n, 0), v_threshold=full(n, 1), w_in=full(n, 5))),
    ]:
        rng = np.random.default_rng(seed)
        n = 5
        w = weights(rng, n, 4, 0.3)
        graph = chain((4,), {"fc": nir.Linear(w), "neuron": make(n)}, (n,))
        module = load(graph.nodes["neuron"])
        x = drive(rng, 4)
        parts = module.init_leaky() if hasattr(module, "init_leaky") else module.init_synaptic()
        state = parts if isinstance(parts, tuple) else (parts,)
        out = []
        for t in range(STEPS):
            z, *state = module(torch.from_numpy(x[t : t + 1] @ w.T), *state)
            out.append(z.detach().numpy()[0])
        write(name, graph, dt, "snntorch", x, "snntorch 1.0.0", {"neuron": np.array(out)})


# ---------------------------------------------------------------- Sinabs
def sinabs():
    import sinabs.layers as sl

    rng = np.random.default_rng(9)
    w1 = rng.normal(size=(3, 2, 3, 3)).astype(np.float32) * 0.5
    w2 = rng.normal(size=(4, 12)).astype(np.float32) * 0.5
    graph = chain(
        (2, 6, 6),
        {
            "conv": nir.Conv2d(input_shape=(6, 6), weight=w1, stride=1, padding=(1, 1), dilation=1, groups=1, bias=full(3, 0.1)),
            "if1": nir.IF(r=np.ones((3, 6, 6), np.float32), v_threshold=np.ones((3, 6, 6), np.float32)),
            "pool": nir.SumPool2d(kernel_size=np.array([3, 3]), stride=np.array([3, 3]), padding=np.array([0, 0])),
            "flat": nir.Flatten(input_type=np.array([3, 2, 2]), start_dim=0, end_dim=-1),
            "fc": nir.Affine(w2, full(4, 0.2)),
            "if2": nir.IF(r=full(4, 1), v_threshold=full(4, 1)),
        },
        (4,),
    )
    x = (rng.random((40, 2, 6, 6)) < 0.3).astype(np.float32)
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    conv.weight.data, conv.bias.data = torch.from_numpy(w1), torch.full((3,), 0.1)
    fc = torch.nn.Linear(12, 4)
    fc.weight.data, fc.bias.data = torch.from_numpy(w2), torch.full((4,), 0.2)
    # As its importer makes them: IF may not fall below its threshold's negative.
    if1 = sl.IAFSqueeze(min_v_mem=-torch.ones(3, 6, 6), spike_threshold=torch.ones(3, 6, 6), num_timesteps=40)
    if2 = sl.IAFSqueeze(min_v_mem=-torch.ones(4), spike_threshold=torch.ones(4), num_timesteps=40)
    with torch.no_grad():
        z1 = if1(conv(torch.from_numpy(x)))
        z2 = if2(fc(torch.flatten(sl.SumPool2d(3)(z1), 1)))
    write("sinabs_conv_if", graph, 1.0, "sinabs", x, "sinabs 3.1.3",
          {"if1": z1.numpy().reshape(40, -1), "if2": z2.numpy()})

    # LIF as its importer makes it (no lowest membrane, input not scaled): r = tau / dt says so in NIR.
    n, dt, tau = 5, 1e-3, 1.2e-2
    w = weights(rng, n, 4, 0.7)
    x = drive(rng, 4)
    graph = chain((4,), {"fc": nir.Linear(w), "lif": nir.LIF(tau=full(n, tau), r=full(n, tau / dt), v_leak=full(n, 0), v_threshold=full(n, 1))}, (n,))
    layer = sl.LIFSqueeze(tau_mem=torch.full((n,), tau / dt), min_v_mem=None, num_timesteps=STEPS,
                          spike_threshold=torch.ones(n), tau_syn=None, norm_input=False)
    with torch.no_grad():
        z = layer(torch.from_numpy(x @ w.T)).numpy()
    write("sinabs_lif", graph, dt, "sinabs", x, "sinabs 3.1.3", {"lif": z})

    # A synapse in front: sinabs' own layer, in NIR's terms w_in = tau_syn / dt.
    tau_syn = 5e-3
    graph = chain((4,), {"fc": nir.Linear(w), "lif": nir.CubaLIF(tau_syn=full(n, tau_syn), tau_mem=full(n, tau), r=full(n, tau / dt), v_leak=full(n, 0), v_threshold=full(n, 2), w_in=full(n, tau_syn / dt))}, (n,))
    layer = sl.LIFSqueeze(tau_mem=torch.full((n,), tau / dt), tau_syn=torch.full((n,), tau_syn / dt), min_v_mem=None,
                          num_timesteps=STEPS, spike_threshold=torch.full((n,), 2.0), norm_input=False)
    with torch.no_grad():
        z = layer(torch.from_numpy(x @ w.T)).numpy()
    write("sinabs_cuba", graph, dt, "sinabs", x, "sinabs 3.1.3", {"lif": z})


# ---------------------------------------------------------------- Rockpool
def rockpool():
    from rockpool.nn.modules.torch import LIFTorch

    dt, tau_mem, tau_syn, n = 1e-3, 1e-2, 4e-3, 5
    for name, seed, recurrent in [("rockpool_cuba", 10, False), ("rockpool_cuba_recurrent", 11, True)]:
        rng = np.random.default_rng(seed)
        w, w_rec = weights(rng, n, 4, 0.25), 0.2 * rng.normal(size=(n, n)).astype(np.float32)
        module = LIFTorch(shape=(n, n), tau_mem=tau_mem, tau_syn=tau_syn, bias=torch.zeros(n), threshold=torch.ones(n),
                          dt=dt, has_rec=recurrent, noise_std=0.0,
                          **({"w_rec": torch.from_numpy(w_rec.T.copy())} if recurrent else {}))
        neuron = nir.CubaLIF(tau_syn=full(n, tau_syn), tau_mem=full(n, tau_mem), r=full(n, tau_mem / dt), v_leak=full(n, 0),
                             v_threshold=full(n, 1), w_in=full(n, tau_syn / dt))
        nodes = {"fc": nir.Linear(w), "neuron": neuron}
        graph = chain((4,), nodes, (n,))
        if recurrent:
            graph.nodes["rec"] = nir.Linear(w_rec)
            graph.edges += [("neuron", "rec"), ("rec", "neuron")]
        x = drive(rng, 4)
        with torch.no_grad():
            z, _, _ = module(torch.from_numpy(x @ w.T)[None])
        write(name, graph, dt, "rockpool", x, "rockpool 3.1.0", {"neuron": z[0].numpy()})


# ---------------------------------------------------------------- Spyx
def spyx():
    import jax.numpy as jnp
    from spyx.nir import from_nir

    dt = 1e-3
    for name, seed, make in [
        ("spyx_lif", 12, lambda n: nir.LIF(tau=full(n, 1e-2), r=full(n, 10), v_leak=full(n, 0), v_threshold=full(n, 1))),
        ("spyx_cuba", 13, lambda n: nir.CubaLIF(tau_syn=full(n, 4e-3), tau_mem=full(n, 1e-2), r=full(n, 10), v_leak=full(n, 0), v_threshold=full(n, 2), w_in=full(n, 4))),
    ]:
        rng = np.random.default_rng(seed)
        n = 5
        graph = chain((4,), {"fc": nir.Linear(weights(rng, n, 4, 0.3)), "neuron": make(n)}, (n,))
        x = drive(rng, 4)
        _, out = from_nir(graph, jnp.asarray(x[:, None]), dt=dt)
        write(name, graph, dt, "spyx", x, "spyx 1.0.0", {"neuron": np.asarray(out)[:, 0]})


for maker in [torch_layers, spikingjelly, norse, snntorch, sinabs, rockpool, spyx]:
    maker()
about = {"numpy": np.__version__, "nir": nir.__version__, "torch": torch.__version__}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "spiking.json"), "w") as f:
    f.write(json.dumps({"about": about, "cases": cases}, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
