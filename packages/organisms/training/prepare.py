"""Trains the tokenizer and writes the pool of training documents both seeds draw from.

    python prepare.py <data-folder>

Reads <data>/texts (see texts.py); writes <data>/tokenizer.json, <data>/docs.npz and docs2.npz (the pools of the two
phases), <data>/prose.npz, <data>/heldout.npz, <data>/pool.json.
"""
import json
import os
import sys

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import tasks

DATA = sys.argv[1]
TOKENS = int(os.environ.get("TOKENS", 10_500_000))
SHARES = {"grammar": 0.18, "control": 0.21}  # the rest is prose
# The second phase: after the first, grammar was at its ceiling and the control tasks were not.
TOKENS_2 = int(os.environ.get("TOKENS_2", 4_600_000))
SHARES_2 = {"grammar": 0.09, "control": 0.48}
EOT = "<|endoftext|>"


def prose_documents(text, size=900):
    """Runs of whole paragraphs of up to about `size` characters; a longer paragraph stands alone."""
    out, run = [], ""
    for p in text.split("\n"):
        if run and len(run) + len(p) > size:
            out.append(run)
            run = ""
        run = run + "\n" + p if run else p
    return [d for d in out + [run] if d]


texts = json.load(open(os.path.join(DATA, "texts", "texts.json")))
prose = {t["id"]: open(os.path.join(DATA, "texts", t["id"] + ".txt")).read().strip() for t in texts}

# Documents of every generated task, and proof that no evaluation item is among their lines.
forbidden = tasks.corpora_lines()
for line in forbidden:
    assert not any(line in text for text in prose.values()), line


def generate(stream, documents):
    out = {"grammar": [], **{k: [] for k in tasks.TASKS}}
    for _ in range(documents):
        kind, text, lines = next(stream)
        assert not forbidden.intersection(lines), lines
        out[kind].append(text)
    return out


generated = generate(tasks.training_documents("pool", 0.5), 440_000)

tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False)])
tok.decoder = decoders.ByteLevel()
sample = [prose[t["id"]] for t in texts if t["split"] == "train" and t["id"] != "web"] + [prose["web"][:1_500_000]]
sample += ["\n".join(d[:20_000 if k == "grammar" else 4_000]) for k, d in generated.items()]
tok.train_from_iterator((line for s in sample for line in s.split("\n")),
                        trainers.BpeTrainer(vocab_size=2048, show_progress=False, special_tokens=[EOT],
                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
tok.save(os.path.join(DATA, "tokenizer.json"))


def encode(docs):
    return [np.array(e.ids, dtype=np.uint16) for e in tok.encode_batch(docs)]


docs, kinds, counts = [], [], {}


def add(kind, ids, budget=None):
    total = 0
    for i in ids:
        if budget is not None and total >= budget:
            break
        docs.append(i)
        kinds.append(kind)
        total += len(i) + 1
    counts[kind] = counts.get(kind, 0) + total
    assert budget is None or total >= budget, (kind, total, budget)


for t in texts:
    ids = encode(prose_documents(prose[t["id"]])) if t["split"] == "train" else encode([prose[t["id"]]])
    t["tokens"] = int(sum(len(i) for i in ids))
    t["ids"] = ids
prose_budget = TOKENS * (1 - sum(SHARES.values()))
fixed = sum(t["tokens"] * t["epochs"] for t in texts if t["id"] != "web")
for t in texts:
    if t["split"] == "train":
        # the Bible fills what the novels leave, at most once
        share = min(1.0, max(0.0, (prose_budget - fixed) / t["tokens"])) if t["id"] == "web" else t["epochs"]
        t["epochs"] = round(share, 3)
        if t["id"] == "web":
            order = np.random.default_rng(1).permutation(len(t["ids"]))
            add("web", [t["ids"][i] for i in order], share * t["tokens"])
        else:
            for _ in range(t["epochs"]):
                add(t["id"], t["ids"])
control = {k: encode(d) for k, d in generated.items() if k != "grammar"}
every = sum(len(i) + 1 for d in control.values() for i in d)
for k, d in control.items():  # in the proportions the stream produced
    add(k, d, TOKENS * SHARES["control"] * sum(len(i) + 1 for i in d) / every * 0.999)
add("grammar", encode(generated["grammar"]), TOKENS * SHARES["grammar"])

np.savez(os.path.join(DATA, "docs.npz"), flat=np.concatenate(docs), lengths=np.array([len(d) for d in docs]))
first = counts

# Second phase: one more epoch of the fiction, a part of the Bible, fresh sentences and tasks.
docs, kinds, counts = [], [], {}
for t in texts:
    if t["epochs"] == 3:
        add(t["id"], t["ids"])
        t["epochs"] += 1
    if t["id"] == "web":
        part = [t["ids"][i] for i in order[::-1]]
        add("web", part, max(0, TOKENS_2 * (1 - sum(SHARES_2.values())) - sum(counts.values())))
        t["epochs"] = round(t["epochs"] + counts["web"] / t["tokens"], 3)
generated = generate(tasks.training_documents("pool 2", 0.25, tasks.SECOND_SHARES), 180_000)
control = {k: encode(d) for k, d in generated.items() if k != "grammar"}
every = sum(len(i) + 1 for d in control.values() for i in d)
print("control tokens at hand", every)
for k, d in control.items():
    add(k, d, min(1, TOKENS_2 * SHARES_2["control"] / every) * sum(len(i) + 1 for i in d) * 0.999)
add("grammar", encode(generated["grammar"]), TOKENS_2 * SHARES_2["grammar"])
np.savez(os.path.join(DATA, "docs2.npz"), flat=np.concatenate(docs), lengths=np.array([len(d) for d in docs]))
second, counts = counts, {k: first.get(k, 0) + counts.get(k, 0) for k in first}

np.savez(os.path.join(DATA, "heldout.npz"), **{t["id"]: t["ids"][0] for t in texts if t["split"] == "heldout"})
np.savez(os.path.join(DATA, "prose.npz"), flat=np.concatenate([i for t in texts if t["split"] == "train" for i in t["ids"]]))
for t in texts:
    del t["ids"]
json.dump({"seed": tasks.SEED, "tokens": counts, "total": sum(counts.values()), "phases": [first, second], "texts": texts}, open(os.path.join(DATA, "pool.json"), "w"), indent=1)
print(json.dumps(counts), sum(counts.values()), [(t["id"], t["tokens"], t["bytes"] / t["tokens"], t["epochs"]) for t in texts])
print([tok.encode(s).tokens for s in ("27+14=41.", "The capital of Vorland is Tamsin.", "copy: k v q = k v q.", "3 4 5", "brackets: ( [ = ] ).")])
