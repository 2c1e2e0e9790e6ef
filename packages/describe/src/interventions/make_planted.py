"""Makes planted.onnx: a GPT-2 of one block whose units are known, to see whether interventional scores tell them apart.

    python make_planted.py [FOLDER]

Packages: torch 2.x, transformers 4.57, onnx. Weights are set by hand or drawn; no published model is involved.

Tokens 0 to 7 are of concept A, 8 to 15 of concept B; even and odd ones are told apart too. Tokens 16 and 17 are the right next tokens after A and
B, 18 and 19 after even and odd ones. Units of blocks.0.mlp.hook_post:
  0  answers to A and writes towards 16, away from 17 (mediates the concept)
  1  answers exactly as unit 0, and writes nothing (an unused copy)
  2  answers to even tokens and writes towards 18, away from 19 (mediates another concept)
  3... drawn at random, small
"""

import json
import pathlib
import sys

import onnx
import torch
import transformers as tf

VOCAB, WIDTH, HIDDEN = 24, 16, 48
CONCEPT, ANSWER, PARITY, OTHER = 0, 1, 2, 3


def planted():
    torch.manual_seed(0)
    config = tf.GPT2Config(vocab_size=VOCAB, n_positions=8, n_embd=WIDTH, n_layer=1, n_head=2, n_inner=HIDDEN, bos_token_id=0,
                           eos_token_id=0, tie_word_embeddings=False, attn_implementation="eager")
    model = tf.GPT2LMHeadModel(config).eval()
    block = model.transformer.h[0]
    with torch.no_grad():
        words = model.transformer.wte.weight.normal_(0, 0.5)
        words[:, [ANSWER, OTHER]] = 0
        words[:, CONCEPT] = 0
        words[:8, CONCEPT], words[8:16, CONCEPT] = 2, -2
        words[0:16:2, PARITY], words[1:16:2, PARITY] = 2, -2
        model.transformer.wpe.weight.normal_(0, 0.05)
        for weight in (block.attn.c_attn.weight, block.attn.c_proj.weight):
            weight.normal_(0, 0.05)
        into, out, bias = block.mlp.c_fc.weight.normal_(0, 0.3), block.mlp.c_proj.weight.normal_(0, 0.1), block.mlp.c_proj.bias
        for unit, read, write in ((0, CONCEPT, ANSWER), (1, CONCEPT, None), (2, PARITY, OTHER)):
            into[:, unit], out[unit] = 0, 0
            into[read, unit] = 3
            if write is not None:
                out[unit, write] = 1
                bias[write] = -2
        scores = model.lm_head.weight.normal_(0, 0.1)
        scores[16, ANSWER], scores[17, ANSWER], scores[18, OTHER], scores[19, OTHER] = 3, -3, 3, -3
    return model, config


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids, attention_mask=attention_mask, use_cache=False).logits


def main(folder):
    model, config = planted()
    ids = torch.tensor([[1, 9, 4], [2, 3, 12]])
    path = folder / "planted.onnx"
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(Logits(model), (ids, torch.ones_like(ids)), str(path), input_names=["input_ids", "attention_mask"],
                      output_names=["logits"], dynamic_axes=dict(input_ids=axes, attention_mask=axes, logits=axes),
                      opset_version=17, dynamo=False)
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, path)
    (folder / "planted.json").write_text(json.dumps(
        {key: getattr(config, key) for key in ("model_type", "n_head", "n_layer", "n_embd", "n_positions", "vocab_size")}) + "\n")
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent))
