"""Minimal pairs: every function returns (good, bad, key); the key is what is held out (see tasks.held_out).

The good sentences of keys that are not held out are the grammar part of the training data.
"""
from lexicon import *

BY_GENDER = {"m": ("himself", "he", "him", "his"), "f": ("herself", "she", "her", "her")}
SG, PL = 0, 1


def cap(s):
    return s[0].upper() + s[1:]


def maybe(r, options, p=0.4):
    return r.choice(options) + " " if r.random() < p else ""


def where(r, p=0.5):
    """A place or nothing, to vary the sentences."""
    return f" {r.choice(['in', 'near', 'behind', 'beside'])} the {r.choice(PLACES)}" if r.random() < p else ""


def animate(r):
    return r.choice(PEOPLE if r.random() < 0.75 else ANIMALS)


def subject(r, noun, number, det="the", p=0.4):
    return f"{det} {maybe(r, ADJ, p)}{noun[number]}"


def thing(r, number=None, det=None):
    number = r.randrange(2) if number is None else number
    noun = r.choice(THINGS)
    det = det or r.choice(["the", "the", "his", "her", "their", "my"])
    return f"{det} {maybe(r, ADJ_THING, 0.35)}{noun[number]}"


def present(verb, number):
    return verb[1] if number == SG else verb[0]


def predicate(r):
    """A way to end a clause whose verb shows number: (singular, plural, rest, key part)."""
    kind = r.random()
    if kind < 0.4:
        v = r.choice(INTRANS)
        return v[1], v[0], where(r), v[0]
    if kind < 0.6:
        v = r.choice(TRANS)
        return v[1], v[0], " " + thing(r) + where(r, 0.2), v[0]
    if kind < 0.85:
        adj = r.choice(ADJ)
        past = r.random() < 0.5
        return ("was", "were", " " + adj, adj) if past else ("is", "are", " " + adj, adj)
    v = r.choice(INTRANS)
    return "has", "have", " " + v[3] + where(r), v[0]


def agreement_simple(r):
    n, num = animate(r), r.randrange(2)
    sg, pl, rest, k = predicate(r)
    s, verbs = subject(r, n, num, p=0.6), (sg, pl)
    return cap(f"{s} {verbs[num]}{rest}."), cap(f"{s} {verbs[1 - num]}{rest}."), f"{n[0]}|{k}"


def agreement_attractor_pp(r):
    n, num = animate(r), r.randrange(2)
    other = r.choice(THINGS + PEOPLE)
    sg, pl, rest, k = predicate(r)
    s = f"{subject(r, n, num, p=0.2)} {r.choice(['near', 'behind', 'beside', 'with'])} the {maybe(r, ADJ_THING, 0.2)}{other[1 - num]}"
    verbs = (sg, pl)
    return cap(f"{s} {verbs[num]}{rest}."), cap(f"{s} {verbs[1 - num]}{rest}."), f"{n[0]}|{k}"


def agreement_attractor_relative(r):
    n, num = r.choice(PEOPLE), r.randrange(2)
    other, v = r.choice(PEOPLE), r.choice(SOCIAL)
    sg, pl, rest, k = predicate(r)
    if r.random() < 0.5:  # object relative
        s = f"the {n[num]} that the {other[1 - num]} {present(v, 1 - num)}"
    else:
        s = f"the {n[num]} who {present(v, num)} the {other[1 - num]}"
    verbs = (sg, pl)
    return cap(f"{s} {verbs[num]}{rest}."), cap(f"{s} {verbs[1 - num]}{rest}."), f"{n[0]}|{k}"


def determiner_noun(r):
    num = r.randrange(2)
    n = r.choice(THINGS + ANIMALS + PEOPLE)
    det = r.choice([("this", "these"), ("that", "those"), ("each", "many"), ("every", "several"), ("one", r.choice(["two", "three", "four"])),
                    ("another", "few")])[num]
    adj = maybe(r, ADJ_THING if n in THINGS else ADJ, 0.4)
    who, v = r.choice(PEOPLE), r.choice(TRANS if n in THINGS else SOCIAL)
    start = f"The {who[r.randrange(2)]} {v[2]} {det} {adj}"
    return f"{start}{n[num]}.", f"{start}{n[1 - num]}.", f"{det}|{n[0]}"


def anaphor_gender(r):
    g = r.choice("mf")
    v = r.choice(SELF)
    if r.random() < 0.5:
        name = r.choice(MALE if g == "m" else FEMALE)
        s, key = name, name
    else:
        n = r.choice([p for p in PEOPLE if p[2] == g])
        s, key = cap(subject(r, n, SG)), n[0]
    verb = r.choice([v[2], "has " + v[3], "will " + v[0], "is " + v[4]])
    w = where(r, 0.3)
    other = "f" if g == "m" else "m"
    return f"{s} {verb} {BY_GENDER[g][0]}{w}.", f"{s} {verb} {BY_GENDER[other][0]}{w}.", f"{key}|{v[0]}"


def anaphor_number(r):
    num, v = r.randrange(2), r.choice(SELF)
    n = r.choice([p for p in PEOPLE if p[2] != "n"])
    forms = (BY_GENDER[n[2]][0], "themselves")
    verb = r.choice([v[2], "will " + v[0], "could " + v[0]])
    s, w = cap(subject(r, n, num)), where(r, 0.3)
    return f"{s} {verb} {forms[num]}{w}.", f"{s} {verb} {forms[1 - num]}{w}.", f"{n[num]}|{v[0]}"


CASES = [("I", "me"), ("he", "him"), ("she", "her"), ("we", "us"), ("they", "them")]


def pronoun_case(r):
    nom, acc = r.choice(CASES)
    v, n = r.choice(SOCIAL), r.choice(PEOPLE)
    w = where(r, 0.4)
    if r.random() < 0.4:
        o = f"the {maybe(r, ADJ, 0.4)}{n[r.randrange(2)]}"
        return cap(f"{nom} {v[2]} {o}{w}."), cap(f"{acc} {v[2]} {o}{w}."), f"{nom}|{v[0]}"
    s = subject(r, n, r.randrange(2))
    if r.random() < 0.5:
        return cap(f"{s} {v[2]} {acc}{w}."), cap(f"{s} {v[2]} {nom}{w}."), f"{acc}|{v[0]}"
    t = thing(r, det="the")
    return cap(f"{s} gave {t} to {acc}{w}."), cap(f"{s} gave {t} to {nom}{w}."), f"{acc}|{n[0]}"


def question_form(r):
    n, num, v = animate(r), r.randrange(2), r.choice(INTRANS + TRANS)
    o = (" " + thing(r)) if v in TRANS else ""
    w = where(r, 0.4)
    s = subject(r, n, num, p=0.3)
    aux = r.choice(["did", ("does", "do")[num], "can", "will", "has"])
    wh = r.choice(["", "", "why ", "when "])
    if aux == "has":
        aux = ("has", "have")[num]
        good, bad = v[3], v[0] if v[0] != v[3] else v[4]
    else:
        good, bad = v[0], (v[2] if aux == "did" and v[2] != v[0] else v[1])
    return cap(f"{wh}{aux} {s} {good}{o}{w}?"), cap(f"{wh}{aux} {s} {bad}{o}{w}?"), f"{n[0]}|{v[0]}"


def verb_form(r):
    """Modal, infinitive and gerund complements."""
    n, num, v = animate(r), r.randrange(2), r.choice(INTRANS + TRANS)
    o = (" " + thing(r)) if v in TRANS else ""
    s, w = subject(r, n, num), where(r, 0.4)
    head, good, bad = r.choice([
        (r.choice(["will", "can", "must", "should", "may"]), v[0], r.choice([v[1], v[4]])),
        (("wants", "want")[num] + " to", v[0], r.choice([v[1], v[4]])),
        (("enjoys", "enjoy")[num], v[4], v[1]),
        ("stopped", v[4], v[1]),
        (("is", "are")[num], v[4], v[0] if v[0] != v[3] else v[1]),
    ])
    return cap(f"{s} {head} {good}{o}{w}."), cap(f"{s} {head} {bad}{o}{w}."), f"{n[0]}|{v[0]}"


def irregular_form(r):
    n, num, v = r.choice(PEOPLE), r.randrange(2), r.choice(IRREGULAR)
    o = f"{r.choice(['the', 'his', 'her', 'their'])} {r.choice(FOOD)}" if v[0] == "eat" else "the letter" if v[0] == "write" else thing(r)
    s, w = subject(r, n, num), where(r, 0.3)
    if r.random() < 0.5:
        aux = r.choice([("has", "have")[num], "had"])
        good, bad = f"{aux} {v[3]}", f"{aux} {v[2]}"
    else:
        adv = maybe(r, ["quickly", "quietly", "suddenly", "once"], 0.4)
        good, bad = f"{adv}{v[2]}", f"{adv}{v[3]}"
    return cap(f"{s} {good} {o}{w}."), cap(f"{s} {bad} {o}{w}."), f"{n[0]}|{v[0]}"


def passive(r):
    n, num, v = r.choice(PEOPLE), r.randrange(2), r.choice(IRREGULAR[:-3])
    t = r.choice(THINGS)
    o = f"the {maybe(r, ADJ_THING, 0.4)}{t[num]}"
    aux, w = r.choice([("was", "were")[num], ("is", "are")[num] + " often", ("has", "have")[num] + " been"]), where(r, 0.4)
    by = f" by the {n[r.randrange(2)]}"
    return cap(f"{o} {aux} {v[3]}{by}{w}."), cap(f"{o} {aux} {v[2]}{by}{w}."), f"{t[0]}|{v[0]}"


def negative_polarity(r):
    n, num, v = animate(r), r.randrange(2), r.choice(SOCIAL)
    o = subject(r, r.choice(PEOPLE), r.randrange(2), p=0.3)
    if r.random() < 0.5:
        lic, bad = r.choice([("no", "the"), ("no", "some"), ("no", "every"), ("few", "many")])
        number = SG if bad == "every" else PL if lic == "few" else num
        tail = f"{n[number]} {('has', 'have')[number]} ever {v[3]} {o}."
        a, b = f"{lic} {tail}", f"{bad} {tail}"
    else:
        lic, bad = r.choice([("nobody", "somebody"), ("nobody", "everybody"), ("never", "often")])
        if lic == "never":
            t = r.choice(THINGS)[1]
            tail = f"{r.choice([x for x in TRANS])[2]} any {t}{where(r, 0.3)}."
            s = subject(r, n, num)
            a, b = f"{s} {lic} {tail}", f"{s} {bad} {tail}"
        else:
            tail = f"{where(r, 0.6).strip()} has ever {v[3]} {o}.".strip()
            a, b = f"{lic} {tail}", f"{bad} {tail}"
    return cap(a), cap(b), f"{v[0]}|{o}"


def filler_gap(r):
    n, v = r.choice(PEOPLE), r.choice(OBLIGATORY)
    head = r.choice(["I know", "we know", "Tom knows", "Mary knows", "I remember", "he remembers", "she forgot", "they heard",
                     "we saw", "the teacher saw"])
    s, w = subject(r, n, r.randrange(2), p=0.3), where(r, 0.5)
    if r.random() < 0.5:
        return cap(f"{head} what {s} {v[2]}{w}."), cap(f"{head} that {s} {v[2]}{w}."), f"{n[0]}|{v[0]}"
    t = thing(r, det="the")
    return cap(f"{head} that {s} {v[2]} {t}{w}."), cap(f"{head} what {s} {v[2]} {t}{w}."), f"{n[0]}|{v[0]}"


def transitivity(r):
    n, num = r.choice(PEOPLE), r.randrange(2)
    vi, vt = r.choice([v for v in INTRANS if v[0] in STRICT]), r.choice(OBLIGATORY)
    s = subject(r, n, num)
    f = r.choice([lambda v: v[2], lambda v: ("has ", "have ")[num] + v[3], lambda v: "will " + v[0], lambda v: ("is ", "are ")[num] + v[4]])
    if r.random() < 0.5:
        w = where(r, 1)
        return cap(f"{s} {f(vi)}{w}."), cap(f"{s} {f(vt)}{w}."), f"{n[0]}|{vi[0]}"
    o = thing(r)
    return cap(f"{s} {f(vt)} {o}."), cap(f"{s} {f(vi)} {o}."), f"{n[0]}|{vt[0]}"


def word_order(r):
    n, num, t = r.choice(PEOPLE), r.randrange(2), r.choice(THINGS)
    v, adj = r.choice(TRANS), r.choice(ADJ_THING)
    s = f"the {n[num]}"
    noun, det = t[r.randrange(2)], r.choice(["the", "his", "her", "their"])
    w = where(r, 0.5)
    good = cap(f"{s} {v[2]} {det} {adj} {noun}{w}.")
    bad = r.choice([f"{s} {v[2]} {noun} {det} {adj}{w}.", f"{s} {v[2]} {adj} {det} {noun}{w}.",
                    f"{s} {det} {adj} {noun} {v[2]}{w}.", f"{v[2]} {s} {det} {adj} {noun}{w}.", f"{n[num]} the {v[2]} {det} {adj} {noun}{w}."])
    return good, cap(bad), f"{n[0]}|{v[0]}"


def tense_adverb(r):
    n, num, v = animate(r), r.randrange(2), r.choice(INTRANS + TRANS)
    o = (" " + thing(r)) if v in TRANS else where(r, 0.7)
    s = subject(r, n, num)
    past = r.choice(["yesterday", "last week", "last year", "last night"])
    future = {"yesterday": "tomorrow"}.get(past, past.replace("last", "next"))
    if past == "last night":
        past, future = "yesterday", "tomorrow"
    good, bad = (past, future) if r.random() < 0.5 else (future, past)
    verb = v[2] if good == past else "will " + v[0]
    if r.random() < 0.5:
        return cap(f"{good} {s} {verb}{o}."), cap(f"{bad} {s} {verb}{o}."), f"{n[0]}|{v[0]}"
    return cap(f"{s} {verb}{o} {good}."), cap(f"{s} {verb}{o} {bad}."), f"{n[0]}|{v[0]}"


def article_form(r):
    who, v = r.choice(PEOPLE), r.choice(TRANS)
    t = r.choice(THINGS)[0]
    adj = maybe(r, ADJ_THING + ["old", "empty", "open", "ugly", "odd"], 0.5)
    word = (adj + t).split()[0]
    good, bad = ("an", "a") if word[0] in "aeiou" and word != "useful" else ("a", "an")
    s, w = cap(subject(r, who, r.randrange(2), p=0.2)), where(r, 0.4)
    return f"{s} {v[2]} {good} {adj}{t}{w}.", f"{s} {v[2]} {bad} {adj}{t}{w}.", f"{word}|{v[0]}"


def coordination(r):
    a, b = r.sample(PEOPLE, 2) if r.random() < 0.7 else r.sample(ANIMALS, 2)
    sg, pl, rest, k = predicate(r)
    if r.random() < 0.3:
        s = f"{r.choice(MALE)} and {r.choice(FEMALE)}"
        key = f"{s}|{k}"
    else:
        key = f"{a[0]}|{b[0]}|{k}"
        s = f"the {a[0]} and the {maybe(r, ADJ, 0.3)}{b[0]}"
    return cap(f"{s} {pl}{rest}."), cap(f"{s} {sg}{rest}."), key


def existential_there(r):
    num, n = r.randrange(2), r.choice(THINGS + ANIMALS + PEOPLE)
    be = r.choice([("is", "are"), ("was", "were"), ("has been", "have been")])
    adj = maybe(r, ADJ_THING if n in THINGS else ADJ, 0.4)
    det = (r.choice(["one", "another"]), r.choice(["two", "three", "many", "several", "some"]))[num]
    w = where(r, 1)
    return f"There {be[num]} {det} {adj}{n[num]}{w}.", f"There {be[1 - num]} {det} {adj}{n[num]}{w}.", f"{n[0]}|{det}|{w.split()[-1]}"


def possessive_pronoun(r):
    """The owner named last decides his or her."""
    g = r.choice("mf")
    name, v = r.choice(MALE if g == "m" else FEMALE), r.choice(TRANS)
    t, w = r.choice(THINGS)[r.randrange(2)], where(r, 0.4)
    forms = {"m": ("his", "himself"), "f": ("her", "herself")}
    o = "f" if g == "m" else "m"
    adj = maybe(r, ADJ_THING, 0.3)
    good = f"{name} {v[2]} {forms[g][0]} own {adj}{t}{w}."
    return good, f"{name} {v[2]} {forms[o][0]} own {adj}{t}{w}.", f"{name}|{v[0]}"


# phenomenon: (maker, field, linguistics term)
PHENOMENA = {
    "agreement_simple": (agreement_simple, "morphology", "subject_verb_agreement"),
    "agreement_attractor_pp": (agreement_attractor_pp, "morphology", "subject_verb_agreement"),
    "agreement_attractor_relative": (agreement_attractor_relative, "morphology", "subject_verb_agreement"),
    "anaphor_gender": (anaphor_gender, "morphology", "anaphor_agreement"),
    "anaphor_number": (anaphor_number, "morphology", "anaphor_agreement"),
    "article_form": (article_form, "morphology", "article_form"),
    "coordination": (coordination, "syntax", "coordination"),
    "determiner_noun": (determiner_noun, "morphology", "determiner_noun_agreement"),
    "existential_there": (existential_there, "morphology", "subject_verb_agreement"),
    "filler_gap": (filler_gap, "syntax", "filler_gap_dependency"),
    "irregular_form": (irregular_form, "morphology", "irregular_forms"),
    "negative_polarity": (negative_polarity, "semantics", "npi_licensing"),
    "passive": (passive, "syntax", "passive"),
    "possessive_pronoun": (possessive_pronoun, "morphology", "possessive_agreement"),
    "pronoun_case": (pronoun_case, "morphology", "pronoun_case"),
    "question_form": (question_form, "syntax", "question_form"),
    "tense_adverb": (tense_adverb, "semantics", "tense"),
    "transitivity": (transitivity, "syntax", "argument_structure"),
    "verb_form": (verb_form, "morphology", "verb_form"),
    "word_order": (word_order, "syntax", "word_order"),
}


def filler_sentence(r):
    """A sentence outside the phenomena, to widen what the lexicon is seen doing."""
    n, num, v = animate(r), r.randrange(2), r.choice(INTRANS)
    s = subject(r, n, num, det=r.choice(["the", "my", "our", "his", "her"]))
    kind = r.randrange(5)
    if kind == 0:
        text = f"{s} {v[2]} {r.choice(['because', 'while', 'before', 'after'])} {subject(r, animate(r), r.randrange(2))} {r.choice(INTRANS)[2]}."
    elif kind == 1:
        text = f"{s} {v[2]} {r.choice(ADVERBS[:4])}{where(r)}."
    elif kind == 2:
        text = f"{r.choice(MALE + FEMALE)} put {thing(r)} {r.choice(['on', 'under', 'near'])} the {r.choice(THINGS)[0]}."
    elif kind == 3:
        text = f"there was some {r.choice(MASS)} in the {r.choice(['bottle', 'cup', 'basket', 'box', 'kitchen', 'house'])}."
    else:
        text = f"if {s} {('has', 'have')[num]} {thing(r)}, {('it is', 'it will be')[r.randrange(2)]} {r.choice(ADJ_THING)}."
    return cap(text), None, f"{n[0]}|{v[0]}"
