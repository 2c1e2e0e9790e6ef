"""Makes test/golden/spikformer.json: a small spiking transformer with its time steps inside, exported to ONNX, and what
torch does with it: every spike, the output, and the output with spikes silenced, forced, taken from other rows, and synapses dropped.

  pip install torch==2.15.0 onnx==1.23.2 numpy
  python test/golden/make_spikformer.py

Drawn from a fixed seed, not trained. The architecture is Spikformer's (Zhou et al. 2023) with linear layers alone.
"""

import base64
import gzip
import io
import json
import os

import torch
from torch import nn

T, B, N, C_IN, C, HEADS = 4, 3, 5, 4, 8, 2
torch.manual_seed(0)


class Lif(nn.Module):
    """v = v / 2 + x; a spike where v >= 1; a spike sets v to 0. `change` is done to spikes, which then reset or do not."""

    change = None

    def forward(self, x):  # [T, B, N, C]
        v, out = torch.zeros_like(x[0]), []
        for t in range(T):
            v = 0.5 * v + x[t]
            z = (v >= 1.0).to(x.dtype)
            if self.change:
                z = self.change(z, t)
            v = v * (1 - z)
            out.append(z)
        self.own = torch.stack(out)
        return self.own


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ["q", "k", "v", "proj"]:
            setattr(self, name, nn.Linear(C, C))
            setattr(self, f"{name}_lif", Lif())
        self.attn_lif = Lif()
        self.fc1, self.fc1_lif = nn.Linear(C, 2 * C), Lif()
        self.fc2, self.fc2_lif = nn.Linear(2 * C, C), Lif()

    def forward(self, x):
        heads = lambda z: z.reshape(T, -1, N, HEADS, C // HEADS).transpose(2, 3)
        q, k, v = (heads(getattr(self, f"{n}_lif")(getattr(self, n)(x))) for n in "qkv")
        attn = (q @ k.transpose(-2, -1)) @ v * 0.5
        x = x + self.proj_lif(self.proj(self.attn_lif(attn.transpose(2, 3).reshape(T, -1, N, C))))
        return x + self.fc2_lif(self.fc2(self.fc1_lif(self.fc1(x))))


class Spikformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.embed_lif = nn.Linear(C_IN, C), Lif()
        self.block = Block()
        self.head = nn.Linear(C, 3)

    def forward(self, x):  # [B, N, C_IN]
        x = x.unsqueeze(0).repeat(T, 1, 1, 1)
        x = self.block(self.embed_lif(self.embed(x)))
        return self.head(x.mean((0, 2)))


net = Spikformer().eval()
for p in net.parameters():
    p.data *= 2
    if p.dim() == 1:
        p.data += 0.3
x = torch.rand(B, N, C_IN).mul(64).round() / 32
lifs = {n: m for n, m in net.named_modules() if isinstance(m, Lif)}
with torch.no_grad():
    y = net(x)
    spikes = {}
    for name, lif in lifs.items():
        share = lif.own.mean().item()
        print(f"{name:16} {share:.2f} of all are spikes")
        assert 0.02 < share < 0.98
        # By step: rows, then tokens and channels as one axis.
        spikes[name] = [[i for i, z in enumerate(step.flatten().tolist()) if z] for step in lif.own]

    def changed(name, change):
        lifs[name].change = change
        out = net(x)
        lifs[name].change = None
        assert not torch.allclose(out, y), f"{name}: the change does nothing"
        return [float(f"{v:.9g}") for v in out.flatten()]

    def silence(z, t):
        z = z.clone()
        z[..., 2:5] = 0
        return z

    experiments = {
        "silence": changed("block.v_lif", silence),
        "resample": changed("block.fc1_lif", lambda z, t: z[[1, 2, 0]]),
        "force": changed("embed_lif", lambda z, t: torch.ones_like(z) if t == 2 else z),
        "noWeights": None,
    }
    kept = net.block.fc1.weight.data.clone()
    net.block.fc1.weight.data[:4] = 0
    experiments["noWeights"] = [float(f"{v:.9g}") for v in net(x).flatten()]
    net.block.fc1.weight.data = kept

buffer = io.BytesIO()
torch.onnx.export(net, (x,), buffer, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "b"}, "y": {0: "b"}},
                  opset_version=17, dynamo=False)
case = {
    "about": {"torch": torch.__version__},
    "steps": T,
    "width": {name: lif.own.shape[-1] for name, lif in lifs.items()},
    "shape": [B, N, C_IN],
    "input": [float(v) for v in x.flatten()],
    "output": [float(f"{v:.9g}") for v in y.flatten()],
    "spikes": spikes,
    **experiments,
    "onnx": base64.b64encode(gzip.compress(buffer.getvalue(), 9, mtime=0)).decode(),
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spikformer.json")
with open(path, "w") as f:
    f.write(json.dumps(case, separators=(",", ":")) + "\n")
