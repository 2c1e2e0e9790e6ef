"""PyTorch's side of the capture benchmark: one forward pass per line of standard input.

A line is {"ids": [[...]], "capture": "none"|"resid"|"all"}; the answer is {"seconds": s, "bytes": n}. The model is
built from the folder's config.json; weights are taken from the ONNX file where the names agree (GPT-2),
otherwise they are random, which costs the same time.
"""

import json
import pathlib
import sys
import time

import torch
import transformers

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
transformers.logging.set_verbosity_error()
config = transformers.AutoConfig.from_pretrained(folder)
model = transformers.AutoModelForCausalLM.from_config(config).eval()
same = False
try:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(folder / "onnx" / "model.onnx").graph
    values = {i.name: i for i in graph.initializer}
    with torch.no_grad():
        state = model.state_dict()
        found = {}
        for name in state:
            for prefix in ("model.", ""):
                if prefix + name in values:
                    found[name] = torch.from_numpy(numpy_helper.to_array(values[prefix + name]).copy())
        missing = [n for n in state if n not in found and not n.endswith("lm_head.weight")]
        if not missing:
            model.load_state_dict(found, strict=False)
            model.tie_weights()
            same = True
except ImportError:
    pass

blocks = model.transformer.h if hasattr(model, "transformer") else model.model.layers
kept = []


def keep_output(_module, _inputs, output):
    kept.append(output[0] if isinstance(output, tuple) else output)


def keep_input(_module, inputs, _output):
    kept.append(inputs[0])


def hooks(capture):
    handles = []
    if capture == "none":
        return handles
    for block in blocks:
        handles.append(block.register_forward_hook(keep_output))
        if capture == "resid":
            continue
        writer = block.mlp.c_proj if hasattr(block.mlp, "c_proj") else block.mlp.down_proj
        handles.append(writer.register_forward_hook(keep_input))
    return handles


print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                  "threads": torch.get_num_threads(), "sameWeights": same}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    ids = torch.tensor(job["ids"])
    handles = hooks(job["capture"])
    kept.clear()
    start = time.perf_counter()
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits
    seconds = time.perf_counter() - start
    for handle in handles:
        handle.remove()
    answer = {"seconds": seconds, "bytes": sum(k.numel() * 4 for k in kept), "captured": len(kept)}
    if job.get("check"):
        answer["logits"] = logits[0, -1, :8].tolist()
    print(json.dumps(answer), flush=True)
