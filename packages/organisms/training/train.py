"""Trains one organism.

    python train.py <data-folder> <output-folder> --seed 1

Deterministic data order per seed; one thread, because two seeds in parallel at one thread each gave more tokens per
second than one at two threads; bfloat16 autocast because the machine's AVX-512 made it faster.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

p = argparse.ArgumentParser()
p.add_argument("data")
p.add_argument("out")
p.add_argument("--seed", type=int, required=True)
p.add_argument("--batch", type=int, default=12)
p.add_argument("--lr", type=float, default=2.5e-3)
p.add_argument("--pool", default="docs.npz", help="docs2.npz: the second phase")
p.add_argument("--resume", help="the model.pt a second phase starts from")
p.add_argument("--skip", type=int, default=0, help="steps of the pool already trained on")
p.add_argument("--warmup", type=int, default=100)
p.add_argument("--steps", type=int, default=0, help="0: one pass over the pool")
p.add_argument("--threads", type=int, default=1)
a = p.parse_args()
T, EOT = 256, 0
torch.set_num_threads(a.threads)
torch.manual_seed(a.seed)
os.makedirs(a.out, exist_ok=True)

# Pack the shuffled documents into rows of T+1 tokens, every row and every document starting with the end-of-text token.
# What is cut off a long document opens the next row.
pool = np.load(os.path.join(a.data, a.pool))
flat, ends = pool["flat"], np.cumsum(pool["lengths"])
starts = ends - pool["lengths"]
rng = np.random.default_rng(a.seed)
rows, row = [], [EOT]
for d in rng.permutation(len(ends)):
    doc = flat[starts[d]:ends[d]].tolist()
    while doc:
        room = T + 1 - len(row)
        row += doc[:room]
        doc = doc[room:]
        if len(row) >= T:
            rows.append((row + [EOT])[:T + 1])
            row = [EOT]
            if len(doc) < 40:
                doc = []  # the tail of a short document would teach starting in the middle
        else:
            row.append(EOT)
rows = torch.tensor(np.array(rows, dtype=np.int64))
steps = a.steps or len(rows) // a.batch - a.skip

config = GPT2Config(vocab_size=2048, n_positions=T, n_embd=192, n_layer=6, n_head=6, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
                    bos_token_id=EOT, eos_token_id=EOT, pad_token_id=EOT,
                    # the same function as gelu_new, in one kernel; the export says gelu_new
                    activation_function="gelu_pytorch_tanh", attn_implementation="sdpa")
model = GPT2LMHeadModel(config)
if a.resume:
    model.load_state_dict(torch.load(a.resume))
decay = [q for q in model.parameters() if q.dim() >= 2]
other = [q for q in model.parameters() if q.dim() < 2]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}],
                        lr=a.lr, betas=(0.9, 0.98), fused=True)
warm = a.warmup


def rate(i):
    if i < warm:
        return (i + 1) / warm
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))


def save(i, seconds):
    torch.save(model.state_dict(), os.path.join(a.out, "model.pt"))
    json.dump({"seed": a.seed, "pool": a.pool, "skipped": a.skip, "step": i, "steps": steps, "batch": a.batch, "context": T, "tokens": i * a.batch * T, "peakLearningRate": a.lr,
               "warmup": warm, "weightDecay": 0.1, "seconds": round(seconds), "threads": a.threads, "autocast": "bfloat16", "torch": torch.__version__},
              open(os.path.join(a.out, "run.json"), "w"), indent=1)


began, log = time.time(), open(os.path.join(a.out, "loss.csv"), "w")
log.write("step,tokens,loss,learning_rate,seconds\n")
mean = []
for i in range(steps):
    for g in opt.param_groups:
        g["lr"] = a.lr * rate(i)
    x = rows[((a.skip + i) * a.batch) % len(rows):][:a.batch]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.float().reshape(-1, 2048), x[:, 1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    opt.zero_grad()
    mean.append(loss.item())
    if (i + 1) % 20 == 0 or i + 1 == steps:
        seconds = time.time() - began
        log.write(f"{i + 1},{(i + 1) * a.batch * T},{np.mean(mean):.4f},{a.lr * rate(i):.6f},{seconds:.0f}\n")
        log.flush()
        mean = []
        if (i + 1) % 100 == 0 or i + 1 == steps:
            save(i + 1, seconds)
            print(i + 1, steps, f"{(i + 1) * a.batch * T / seconds:.0f} tokens/s", f"{loss.item():.3f}", flush=True)
