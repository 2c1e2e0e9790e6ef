"""The generated part of the training data and the two evaluation corpora.

    python tasks.py <repository>/corpora      writes minimal-pairs/ and control-tasks/

What is held out is decided by a hash of each item's key (operand pair, noun and verb, string to copy ...), so that the
training stream and the corpora can be made independently and in any order without sharing an item.
"""
import functools
import json
import os
import random
import sys
import zlib

from grammar import PHENOMENA, filler_sentence
from lexicon import FEMALE, MALE, PLACES, THINGS

SEED = 20261
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYMBOLS = "# $ % & * + @ ! ? ~ ^".split()
BRACKETS = [("(", ")"), ("[", "]"), ("{", "}"), ("<", ">")]


def held_out(key):
    """One key in eight belongs to the evaluation and never enters training."""
    return zlib.crc32(key.encode()) % 8 == 0


# --- facts: invented, so that only memory can answer -------------------------------------------------------------

def _facts():
    r = random.Random("facts")
    heads, tails = "Vor Kel Bran Tal Mir Os Dun Fen Gar Hol Jor Lus Nar Pel Quen Ras Sil Tor Ul Wes Yar Zan".split(), "land mark ovia stan heim aria wick".split()
    countries = sorted({a + b for a in heads for b in tails})
    r.shuffle(countries)
    capitals = sorted({a + b for a in "Tam Bel Cor Dal Eld Fir Gos Har Ild Jam Kir Lor Mon Nev Orl Pas Rud Sel Tol Vin".split() for b in ("sin", "den", "mor", "ton", "vik")})
    r.shuffle(capitals)
    colours = "red blue green white black gold".split()
    goods = "milk salt wood gold wine silk corn coal".split()
    animals = "horse eagle tiger whale snake camel zebra otter".split()
    jobs = "baker sailor tailor miner pilot hunter singer dancer".split()
    facts = []
    for i, c in enumerate(countries[:32]):
        # relation, subject, value, foils, phrasings
        facts.append(("capital", c, capitals[i], capitals[:32], ["The capital of {} is {}.", "The main city in {} is {}.", "The king of {} lives in {}."]))
        facts.append(("flag", c, r.choice(colours), colours, ["The flag of {} is {}.", "The colour of {} is {}.", "All the houses in {} are painted {}."]))
        facts.append(("goods", c, r.choice(goods), goods, ["The people of {} sell {}.", "The ships of {} carry {}.", "The best thing in {} is the {}."]))
        facts.append(("animal", c, r.choice(animals), animals, ["The animal of {} is the {}.", "The coin of {} shows the {}.", "Every child in {} loves the {}."]))
        facts.append(("job", c, r.choice(jobs), jobs, ["The king of {} was once a {}.", "The hero of {} is a {}.", "The oldest man in {} is a {}."]))
    return facts


FACTS = _facts()


# --- tasks: each returns (prompt, good, bad, key); the line trained on is prompt + good -----------------------------

def _other_number(r, n):
    """A wrong answer of the same number of digits."""
    options = [m for m in (n + 1, n - 1, n + 10, n - 10, n + 2, n - 2, n + 9, n - 9) if m >= 0 and len(str(m)) == len(str(n))]
    return r.choice(options)


def sums(r):
    a, b = [r.randrange(10) if r.random() < 0.3 else r.randrange(100) for _ in "ab"]
    if r.random() < 0.3:
        a, b = max(a, b), min(a, b)
        n, op = a - b, "-"
    else:
        n, op = a + b, "+"
    return f"{a}{op}{b}=", f"{n}.", f"{_other_number(r, n)}.", f"{op}{min(a, b)},{max(a, b)}"


def copying(r):
    kind = r.choice(["letters", "letters", "digits", "symbols", "words"])
    if kind == "words":
        pool = ["".join(r.choice(p) for p in ("bdfglmnprstvz", "aeiou", "bdglmnprstkx")) for _ in range(40)]
    else:
        pool = list({"letters": LETTERS, "digits": "0123456789"}.get(kind, SYMBOLS))
    items = r.sample(pool, r.randrange(3, 7) if kind == "words" else r.randrange(3, 9))
    wrong = list(items)
    if r.random() < 0.5:
        i = r.randrange(len(items) - 1)
        wrong[i], wrong[i + 1] = wrong[i + 1], wrong[i]
    else:
        wrong[r.randrange(len(items))] = r.choice([x for x in pool if x not in items])
    s = " ".join(items)
    return f"copy: {s} =", f" {s}.", f" {' '.join(wrong)}.", "copy " + s


def reversing(r):
    items = r.sample(list(r.choice([LETTERS, "0123456789"])), r.randrange(2, 6))
    back = items[::-1]
    wrong = list(back)
    i = r.randrange(len(items) - 1)
    wrong[i], wrong[i + 1] = wrong[i + 1], wrong[i]
    return f"reverse: {' '.join(items)} =", f" {' '.join(back)}.", f" {' '.join(wrong)}.", "reverse " + " ".join(items)


def sequence(r):
    step = r.choice([1, 1, 1, 2, 2, 3, 5, 10])
    down = r.random() < 0.3
    n = r.randrange(5, 9)
    start = r.randrange(100)
    xs = [start + (-step if down else step) * i for i in range(n)]
    if xs[-1] < 0:
        xs = [x - xs[-1] for x in xs]
    wrong = _other_number(r, xs[-1])
    while wrong in xs:
        wrong = _other_number(r, xs[-1])
    return " ".join(map(str, xs[:-1])), f" {xs[-1]}.", f" {wrong}.", "sequence " + " ".join(map(str, xs))


def alphabet(r):
    step = r.choice([1, 1, 1, 1, 2, -1])
    n = r.randrange(4, 12)
    letters = LETTERS.upper() if r.random() < 0.4 else LETTERS
    span = (n - 1) * abs(step)
    i = r.randrange(26 - span)
    xs = [letters[i + abs(step) * k] for k in range(n)]
    if step < 0:
        xs = xs[::-1]
    at = letters.index(xs[-1])
    wrong = letters[r.choice([k for k in (at - 3, at - 1, at + 1, at + 2, at + 3) if 0 <= k < 26 and letters[k] not in xs] or [0 if at > 12 else 25])]
    return "letters: " + " ".join(xs[:-1]), f" {xs[-1]}.", f" {wrong}.", "alphabet " + " ".join(xs)


def brackets(r):
    """Close what is open, innermost first."""
    out, stack = [], []
    size = r.randrange(3, 8)
    while size or not stack:
        if stack and r.random() < 0.25:
            out.append(stack.pop())
        else:
            o, c = r.choice(BRACKETS)
            out.append(o)
            stack.append(c)
            size -= 1 if size else 0
    good = stack[::-1]
    wrong = list(good)
    i = r.randrange(len(good))
    wrong[i] = r.choice([c for _, c in BRACKETS if c != good[i]])
    return "brackets: " + " ".join(out), " " + " ".join(good) + ".", " " + " ".join(wrong) + ".", "brackets " + " ".join(out)


def facts(r):
    relation, subject, value, pool, phrasings = r.choice(FACTS)
    p = r.randrange(3)
    # one phrasing of every fact is kept for the evaluation: the other two teach it
    key = f"{relation} {subject} {p}"
    prompt, end = phrasings[p].split("{}")[0] + subject + phrasings[p].split("{}")[1].rstrip(), phrasings[p].split("{}")[2]
    foils = [x for x in pool if x != value and len(x) == len(value)] or [x for x in pool if x != value]
    return prompt, f" {value}{end}", f" {r.choice(foils)}{end}", key


def fact_held_out(key):
    relation, subject, p = key.split()
    return zlib.crc32((relation + subject).encode()) % 3 == int(p)


def names(r):
    a, b = r.sample(MALE + FEMALE, 2)
    t, place = r.choice(THINGS)[0], r.choice(PLACES)
    art = "an" if t[0] in "aeiou" else "a"
    giver = r.choice([a, b])
    other = b if giver == a else a
    start = r.choice([f"Then {a} and {b} went to the {place}.", f"When {a} and {b} got to the {place}, it was late."])
    verb = r.choice(["gave", "sold", "showed", "offered"])
    return f"{start} {giver} {verb} {art} {t} to", f" {other}.", f" {giver}.", f"names {a} {b} {t} {giver}"


# task: (maker, share of the control-task lines in training, what it asks)
TASKS = {
    "sums": (sums, 0.46, "Additions and subtractions up to two digits; held-out operand pairs."),
    "copying": (copying, 0.13, "Repeating random letters, digits, symbols or nonwords; held-out strings."),
    "reversing": (reversing, 0.06, "Random letters or digits in reverse order; held-out strings."),
    "sequence": (sequence, 0.10, "The next number of an arithmetic sequence; held-out sequences (their steps and numbers do occur in others)."),
    "alphabet": (alphabet, 0.05, "The next letter; held-out stretches (memory: the alphabet itself is in training)."),
    "brackets": (brackets, 0.08, "Closing the open brackets in order; held-out strings."),
    "facts": (facts, 0.07, "Invented facts, asked in the one of three phrasings that training withheld."),
    "names": (names, 0.05, "Who received the thing; held-out combinations of names and things."),
}


def is_held_out(task, key):
    return fact_held_out(key) if task == "facts" else held_out(key)


# --- training stream ---------------------------------------------------------------------------------------------

def grammar_line(r):
    while True:
        name = r.choice(list(PHENOMENA)) if r.random() < 0.85 else None
        good, _, key = PHENOMENA[name][0](r) if name else filler_sentence(r)
        # two phenomena can make the same sentence under different keys: the second check is on the exact string
        if not held_out(key) and good not in corpora_lines():
            return name or "other sentences", good


def _training_item(name, r):
    while True:
        prompt, good, _, key = TASKS[name][0](r)
        if not is_held_out(name, key) and prompt + good not in corpora_lines():
            return prompt + good


# The second phase shows more of what the first left weak.
SECOND_SHARES = {"sums": 0.59, "copying": 0.10, "reversing": 0.05, "sequence": 0.09, "alphabet": 0.01, "brackets": 0.02, "facts": 0.06, "names": 0.08}


def training_documents(seed, grammar_share, shares=None):
    """An endless stream of (kind, text, lines): short documents of sentences or of lines of one task."""
    r = random.Random(f"{SEED} training {seed}")
    while True:
        if r.random() < grammar_share:
            lines = [grammar_line(r)[1] for _ in range(r.choice([1, 1, 2, 3, 4, 5]))]
            yield "grammar", " ".join(lines), lines
        else:
            name = r.choices(list(TASKS), list(shares.values()) if shares else [t[1] for t in TASKS.values()])[0]
            lines = [_training_item(name, r) for _ in range(r.choice([1, 2, 3, 4]))]
            yield name, "\n".join(lines), lines


# --- corpora -----------------------------------------------------------------------------------------------------

def minimal_pairs(phenomenon, count=100):
    r = random.Random(f"{SEED} pairs {phenomenon}")
    maker, field, term = PHENOMENA[phenomenon]
    seen, out = set(), []
    while len(out) < count:
        good, bad, key = maker(r)
        if not held_out(key) or good == bad or good in seen or bad in seen:
            continue
        seen |= {good, bad}
        out.append({"sentence_good": good, "sentence_bad": bad, "field": field, "linguistics_term": term,
                    "UID": phenomenon, "pairID": str(len(out))})
    return out


def control_items(task, count=120):
    r = random.Random(f"{SEED} control {task}")
    seen, out = set(), []
    tries = 0
    while len(out) < count and tries < 200_000:
        tries += 1
        prompt, good, bad, key = TASKS[task][0](r)
        if not is_held_out(task, key) or prompt + good in seen or good == bad:
            continue
        seen.add(prompt + good)
        out.append({"id": f"{task}-{len(out)}", "prompt": prompt, "good": good, "bad": bad})
    return out


@functools.cache
def corpora_lines():
    """Everything the two corpora hold, for the check that training never sees it."""
    lines = {p[k] for name in PHENOMENA for p in minimal_pairs(name) for k in ("sentence_good", "sentence_bad")}
    return lines | {i["prompt"] + i["good"] for name in TASKS for i in control_items(name)}


def main(root):
    def write(folder, name, rows):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        with open(os.path.join(root, folder, name + ".jsonl"), "w") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
        print(folder, name, len(rows), rows[0])

    for name in PHENOMENA:
        write("minimal-pairs", name, minimal_pairs(name))
    for name in TASKS:
        write("control-tasks", name, control_items(name))
    common = {"citation": "Penfield contributors, 2026", "licence": "MIT",
              "made": "python packages/organisms/training/tasks.py corpora", "seed": SEED}
    for folder, source in {
        "minimal-pairs": {"name": "minimal-pairs", "title": "Penfield minimal pairs",
                          "description": f"{len(PHENOMENA)} grammatical phenomena of English, 100 generated pairs each, from a lexicon of a few "
                                         "hundred common words. Held out from the training of the organisms.",
                          "loader": "blimp-jsonl"},
        "control-tasks": {"name": "control-tasks", "title": "Penfield control tasks",
                          "description": "Tasks that need no grammar, each item a prompt with a right and a wrong continuation: "
                                         + " ".join(f"{k}: {t[2]}" for k, t in TASKS.items()),
                          "loader": "continuation-jsonl"}}.items():
        with open(os.path.join(root, folder, "source.json"), "w") as f:
            json.dump({**source, **common}, f, indent=2)
            f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
