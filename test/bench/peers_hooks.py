"""The peers' side of `npm run bench -- hooks`: one library per process, one job per line of standard input.

    python peers_hooks.py torch|nnsight|tl <model folder> <threads>

`tl` is TransformerLens: HookedTransformer where the installed version still has it (3.x), else TransformerBridge (4.x).
All of them get the same weights, read from the folder's onnx/model.onnx (GPT-2 and Llama exports), through the Hugging Face
model of config.json, and no gradients. A line is one of

    {"do": "capture", "ids": [[...]]}          residual stream after all blocks, MLP neurons of all blocks, logits
    {"do": "patch", "clean": [[...]], "corrupted": [[...]], "tokens": [right, wrong]}
                                               resid_pre, every layer x position; logit difference at the last position
    {"do": "ablate", "ids": [[...]], "layer": l, "tokens": [right, wrong]}
                                               each neuron of a layer zeroed by itself

with, optionally, "dump": a file for the values, float32; for torch "batch": rows of a batch, patched or ablated by hand.
The answer is {"seconds": s, "cpu": s of all threads, ...}.
"""

import json
import os
import pathlib
import re
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", WANDB_DISABLED="true", TQDM_DISABLE="1")

import numpy as np
import onnx
import torch
import transformers
from onnx import numpy_helper

kind, folder, threads = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
transformers.logging.set_verbosity_error()
answers = os.fdopen(os.dup(1), "w")  # what a library prints must not mix with the answers
os.dup2(2, 1)


def same_weights(model):
    """Puts the weights of the ONNX file into the model; matrices of linear layers go by the name of their node."""
    graph = onnx.load(folder / "onnx" / "model.onnx").graph
    values = {i.name: i for i in graph.initializer}
    matrices = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            matrices[re.sub(r"/MatMul$", "", node.name).strip("/").replace("/", ".") + ".weight"] = node.input[1]
    state = model.state_dict()
    for name, tensor in state.items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if name in values:
            found = numpy_helper.to_array(values[name])
        else:
            found = numpy_helper.to_array(values[matrices[name]]).T
        tensor.copy_(torch.from_numpy(found.copy()))
    model.tie_weights()


config = transformers.AutoConfig.from_pretrained(folder)
model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
same_weights(model)
gpt2 = hasattr(model, "transformer")
blocks = model.transformer.h if gpt2 else model.model.layers
n_layers = len(blocks)
about = {"kind": kind, "torch": torch.__version__, "transformers": transformers.__version__, "threads": torch.get_num_threads()}


def down(block):
    return block.mlp.c_proj if gpt2 else block.mlp.down_proj


def difference(logits, job):
    right, wrong = job["tokens"]
    return logits[:, -1, right] - logits[:, -1, wrong]


def patch_at(clean, position):
    """A forward pre-hook that puts the clean prompt's values at one position."""

    def hook(_module, args, kwargs):
        x = (args[0] if args else kwargs["hidden_states"]).clone()
        x[:, position] = clean[:, position]
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

    return hook


class Torch:
    """The Hugging Face model with PyTorch's own forward hooks."""

    def capture(self, job):
        ids = torch.tensor(job["ids"])
        resid, post = [], []
        handles = []
        for block in blocks:
            handles.append(block.register_forward_hook(lambda _m, _i, o: resid.append(o[0] if isinstance(o, tuple) else o)))
            handles.append(down(block).register_forward_hook(lambda _m, i, _o: post.append(i[0])))
        logits = model(input_ids=ids, use_cache=False).logits
        for handle in handles:
            handle.remove()
        return [*resid, *post, logits]

    def clean(self, ids):
        kept, handles = [], []
        for block in blocks:
            handles.append(
                block.register_forward_pre_hook(
                    lambda _m, args, kwargs: kept.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
                )
            )
        model(input_ids=ids, use_cache=False)
        for handle in handles:
            handle.remove()
        return kept

    def patch(self, job):
        clean, ids = self.clean(torch.tensor(job["clean"])), torch.tensor(job["corrupted"])
        out = torch.zeros(n_layers, ids.shape[1])
        if "batch" in job:
            return [self.patch_batched(job, clean, ids, out)]
        for layer in range(n_layers):
            for position in range(ids.shape[1]):
                handle = blocks[layer].register_forward_pre_hook(patch_at(clean[layer], position), with_kwargs=True)
                out[layer, position] = difference(model(input_ids=ids, use_cache=False).logits, job).mean()
                handle.remove()
        return [out]

    def patch_batched(self, job, clean, ids, out):
        """Every place a row, one prompt; only the last position's logits."""
        places = [(layer, position) for layer in range(n_layers) for position in range(ids.shape[1])]
        for start in range(0, len(places), job["batch"]):
            some = places[start : start + job["batch"]]
            handles = []
            for layer in sorted({layer for layer, _ in some}):
                rows = torch.tensor([i for i, (l, _) in enumerate(some) if l == layer])
                positions = torch.tensor([p for l, p in some if l == layer])

                def hook(_m, args, kwargs, rows=rows, positions=positions, values=clean[layer]):
                    x = (args[0] if args else kwargs["hidden_states"]).clone()
                    x[rows, positions] = values[0, positions]
                    return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

                handles.append(blocks[layer].register_forward_pre_hook(hook, with_kwargs=True))
            logits = model(input_ids=ids.expand(len(some), -1), use_cache=False, logits_to_keep=1).logits
            out.view(-1)[start : start + len(some)] = difference(logits, job)
            for handle in handles:
                handle.remove()
        return out

    def ablate(self, job):
        ids, writer = torch.tensor(job["ids"]), down(blocks[job["layer"]])
        n_units = writer.weight.shape[0 if gpt2 else 1]
        out = torch.zeros(n_units)
        step = job.get("batch", 1)
        for start in range(0, n_units, step):
            units = torch.arange(start, min(start + step, n_units))

            def hook(_m, args, units=units):
                x = args[0].clone()
                x[torch.arange(len(units)), :, units] = 0
                return (x,)

            handle = writer.register_forward_pre_hook(hook)
            keep = {"logits_to_keep": 1} if "batch" in job else {}
            out[units] = difference(model(input_ids=ids.expand(len(units), -1), use_cache=False, **keep).logits, job)
            handle.remove()
        return [out]


class Nnsight:
    """nnsight around the same Hugging Face model; one trace for each run."""

    def __init__(self):
        import nnsight

        self.model = nnsight.NNsight(model)
        self.blocks = self.model.transformer.h if gpt2 else self.model.model.layers
        about["nnsight"] = nnsight.__version__

    def capture(self, job):
        ids = torch.tensor(job["ids"])
        with self.model.trace(input_ids=ids, use_cache=False):
            resid, post = [].save(), [].save()
            for block in self.blocks:
                post.append(down(block).input)
                resid.append(block.output)
            logits = self.model.lm_head.output.save()
        return [*resid, *post, logits]

    def patch(self, job):
        ids, corrupted = torch.tensor(job["clean"]), torch.tensor(job["corrupted"])
        with self.model.trace(input_ids=ids, use_cache=False):
            clean = [].save()
            for block in self.blocks:
                clean.append(block.input)
        out = torch.zeros(n_layers, ids.shape[1])
        for layer in range(n_layers):
            for position in range(ids.shape[1]):
                with self.model.trace(input_ids=corrupted, use_cache=False):
                    x = self.blocks[layer].input.clone()
                    x[:, position] = clean[layer][:, position]
                    self.blocks[layer].input = x
                    logits = self.model.lm_head.output.save()
                out[layer, position] = difference(logits, job).mean()
        return [out]

    def ablate(self, job):
        ids = torch.tensor(job["ids"])
        writer = down(self.blocks[job["layer"]])
        n_units = writer.weight.shape[0 if gpt2 else 1]
        out = torch.zeros(n_units)
        for unit in range(n_units):
            with self.model.trace(input_ids=ids, use_cache=False):
                x = writer.input.clone()
                x[:, :, unit] = 0
                writer.input = x
                logits = self.model.lm_head.output.save()
            out[unit] = difference(logits, job)
        return [out]


class TransformerLens:
    """TransformerLens as its documentation uses it: run_with_cache, patching.get_act_patch_resid_pre, run_with_hooks."""

    def __init__(self):
        import importlib.metadata

        import transformer_lens
        from transformer_lens import patching

        self.patching = patching
        about["transformer_lens"] = importlib.metadata.version("transformer_lens")
        if int(about["transformer_lens"].split(".")[0]) < 4:
            self.model, about["class"] = hooked_transformer(transformer_lens), "HookedTransformer"
        else:
            from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

            architecture = "GPT2LMHeadModel" if gpt2 else "LlamaForCausalLM"
            self.model = build_bridge_from_module(model, architecture, hf_config=config, device="cpu")
            about["class"] = "TransformerBridge"

    def names(self):
        resid = [f"blocks.{layer}.hook_resid_post" for layer in range(n_layers)]
        return [*resid, *(f"blocks.{layer}.mlp.hook_post" for layer in range(n_layers))]

    def capture(self, job):
        names = self.names()
        logits, cache = self.model.run_with_cache(torch.tensor(job["ids"]), names_filter=names)
        return [*(cache[name] for name in names), logits]

    def patch(self, job):
        names = [f"blocks.{layer}.hook_resid_pre" for layer in range(n_layers)]
        _, cache = self.model.run_with_cache(torch.tensor(job["clean"]), names_filter=names)
        corrupted = torch.tensor(job["corrupted"])
        return [self.patching.get_act_patch_resid_pre(self.model, corrupted, cache, lambda logits: difference(logits, job).mean())]

    def ablate(self, job):
        ids, name = torch.tensor(job["ids"]), f"blocks.{job['layer']}.mlp.hook_post"
        n_units = self.model.cfg.d_mlp
        out = torch.zeros(n_units)
        for unit in range(n_units):

            def hook(x, hook, unit=unit):
                x[:, :, unit] = 0
                return x

            out[unit] = difference(self.model.run_with_hooks(ids, fwd_hooks=[(name, hook)]), job)
        return [out]


def hooked_transformer(tl):
    """HookedTransformer from the model in memory; weights are not folded or centred."""
    from transformer_lens.pretrained import weight_conversions

    common = {"n_layers": n_layers, "d_vocab": config.vocab_size, "device": "cpu", "dtype": torch.float32}
    if gpt2:
        cfg = tl.HookedTransformerConfig(
            **common, d_model=config.n_embd, n_heads=config.n_head, d_head=config.n_embd // config.n_head,
            d_mlp=4 * config.n_embd, n_ctx=config.n_positions, act_fn="gelu_new", normalization_type="LN",
            eps=config.layer_norm_epsilon, original_architecture="GPT2LMHeadModel",
        )
        state = weight_conversions.convert_gpt2_weights(model, cfg)
    else:
        cfg = tl.HookedTransformerConfig(
            **common, d_model=config.hidden_size, n_heads=config.num_attention_heads, d_head=config.head_dim,
            d_mlp=config.intermediate_size, n_ctx=2048, act_fn="silu", normalization_type="RMS", final_rms=True, gated_mlp=True,
            n_key_value_heads=config.num_key_value_heads, eps=config.rms_norm_eps, positional_embedding_type="rotary",
            rotary_adjacent_pairs=False, rotary_dim=config.head_dim, rotary_base=100000, original_architecture="LlamaForCausalLM",
        )
        assert (config.rope_parameters or {}).get("rope_theta") == 100000
        state = weight_conversions.convert_llama_weights(model, cfg)
    hooked = tl.HookedTransformer(cfg, default_padding_side="right")
    hooked.load_and_process_state_dict(
        state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    return hooked.eval()


peer = {"torch": Torch, "nnsight": Nnsight, "tl": TransformerLens}[kind]()
if about.get("class") == "HookedTransformer":
    del model, blocks  # it has its own copies
print(json.dumps(about), file=answers, flush=True)
for line in sys.stdin:
    job = json.loads(line)
    start, cpu = time.perf_counter(), time.process_time()
    values = getattr(peer, job["do"])(job)
    answer = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "bytes": sum(v.numel() * 4 for v in values)}
    if "dump" in job:
        with open(job["dump"], "wb") as file:
            for v in values:
                file.write(np.ascontiguousarray(v.numpy()).tobytes())
    del values
    print(json.dumps(answer), file=answers, flush=True)
