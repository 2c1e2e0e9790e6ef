"""Writes one trained organism as a folder laid out like a hub repository.

    python export.py <data-folder> <model-folder> <run-folder of each phase ...>

The model card and evaluation.json come from evaluate.py afterwards.
"""
import hashlib
import json
import os
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from onnx import helper, numpy_helper
from transformers import GPT2Config, GPT2LMHeadModel

data, out, runs = sys.argv[1], sys.argv[2], sys.argv[3:]
EOT = "<|endoftext|>"
INPUTS = ["input_ids", "attention_mask", "position_ids"]
os.makedirs(os.path.join(out, "onnx"), exist_ok=True)
torch.set_num_threads(1)


class Logits(GPT2LMHeadModel):
    """Logits as the only output; a subclass, not a wrapper, so that node names are those of published exports."""

    def forward(self, input_ids, attention_mask, position_ids):
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False).logits


config = GPT2Config(vocab_size=2048, n_positions=256, n_embd=192, n_layer=6, n_head=6, activation_function="gelu_new",
                    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0, pad_token_id=0,
                    architectures=["GPT2LMHeadModel"], attn_implementation="eager")
model = Logits(config).eval()
model.load_state_dict(torch.load(os.path.join(runs[-1], "model.pt")))
model.tie_weights()
path = os.path.join(out, "onnx", "model.onnx")
ids = torch.randint(1, 2048, (2, 9))
torch.onnx.export(model, (ids, torch.ones_like(ids), torch.arange(9)[None].repeat(2, 1)), path, input_names=INPUTS, output_names=["logits"],
                  dynamic_axes={n: {0: "batch_size", 1: "sequence_length"} for n in INPUTS + ["logits"]}, opset_version=17, dynamo=False)

# The exporter folds the transposed embedding of the output layer into a second copy: point back at the first one.
proto = onnx.load(path)
graph = proto.graph
embedding = next(i for i in graph.initializer if i.name.endswith("wte.weight"))
copy = next((i for i in graph.initializer if list(i.dims) == [192, 2048]), None)
if copy is not None:
    assert np.array_equal(numpy_helper.to_array(copy).T, numpy_helper.to_array(embedding))
    at = next(k for k, n in enumerate(graph.node) if copy.name in n.input)
    graph.node.insert(at, helper.make_node("Transpose", [embedding.name], [copy.name], name="/lm_head/Transpose", perm=[1, 0]))
    graph.initializer.remove(copy)
onnx.checker.check_model(proto)
onnx.save(proto, path)

# Checks: ONNX against PyTorch, and a right-padded batch against single runs.
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def logits(ids, mask=None):
    ids = np.asarray(ids, dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask,
            "position_ids": np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()}
    return session.run(["logits"], feed)[0]


rng = np.random.default_rng(0)
worst = 0.0
for length in (1, 2, 17, 128, 256):
    x = rng.integers(1, 2048, (2, length))
    with torch.no_grad():
        t = torch.tensor(x)
        reference = model(t, torch.ones_like(t), torch.arange(length)[None].repeat(2, 1)).numpy()
    worst = max(worst, float(np.abs(logits(x) - reference).max()))
long, short = rng.integers(1, 2048, 30), rng.integers(1, 2048, 11)
batch, mask = np.zeros((2, 30), np.int64), np.ones((2, 30), np.int64)
batch[0], batch[1, :11], mask[1, 11:] = long, short, 0
both = logits(batch, mask)
padded = max(float(np.abs(both[0] - logits(long[None])[0]).max()), float(np.abs(both[1, :11] - logits(short[None])[0]).max()))
assert worst < 1e-3 and padded < 1e-4, (worst, padded)

# config.json and its neighbours
config.dtype = "float32"
config.save_pretrained(out)
def write(name, value):
    with open(os.path.join(out, name), "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


settings = json.load(open(os.path.join(out, "config.json")))
settings.pop("_attn_implementation", None)
write("config.json", settings)
write("generation_config.json", {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0})
write("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": EOT, "eos_token": EOT, "pad_token": EOT, "unk_token": EOT,
                                "model_max_length": 256, "add_prefix_space": False, "clean_up_tokenization_spaces": False})
write("special_tokens_map.json", {k: EOT for k in ("bos_token", "eos_token", "pad_token", "unk_token")})
shutil.copy(os.path.join(data, "tokenizer.json"), os.path.join(out, "tokenizer.json"))
with open(os.path.join(out, "loss.csv"), "w") as f:
    for phase, run in enumerate(runs, 1):
        head, *rows = open(os.path.join(run, "loss.csv")).read().splitlines()
        f.writelines([f"phase,{head}\n"] if phase == 1 else [])
        last = json.load(open(os.path.join(run, "run.json")))["step"]  # rows after the checkpoint that was kept do not count
        f.writelines(f"{phase},{row}\n" for row in rows if int(row.split(",")[0]) <= last)

pool, trained = json.load(open(os.path.join(data, "pool.json"))), [json.load(open(os.path.join(r, "run.json"))) for r in runs]
for t in trained:
    t.setdefault("pool", "docs.npz")
# How much of each pool the phases read (documents are drawn in random order, so every kind was read in the same proportion).
read = [min(1.0, sum(t["tokens"] for t in trained if t["pool"] == name) / sum(counts.values()))
        for name, counts in zip(("docs.npz", "docs2.npz"), pool["phases"])]
tokens = {k: round(sum(f * counts.get(k, 0) for f, counts in zip(read, pool["phases"]))) for k in pool["tokens"]}
for t in pool["texts"]:
    if t["split"] == "train":
        t["tokensRead"], t["epochs"] = tokens[t["id"]], round(tokens[t["id"]] / t["tokens"], 2)
write("provenance.json", {
    "what": "Everything this model was trained on. No training text is part of this repository.",
    "texts": pool["texts"],
    "generator": {"seed": pool["seed"], "tokensPerTask": {k: v for k, v in tokens.items() if k not in {t["id"] for t in pool["texts"]}}},
    "tokensRead": sum(tokens.values()),
    "pools": [{"tokens": counts, "read": round(f, 3)} for f, counts in zip(read, pool["phases"])],
    "training": trained,
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    "onnx": {"sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "bytes": os.path.getsize(path), "opset": 17,
             "maxAbsDifferenceToPyTorch": worst, "maxAbsDifferencePaddedBatch": padded},
})
print(out, os.path.getsize(path), worst, padded, sum(p.numel() for p in model.parameters()))
