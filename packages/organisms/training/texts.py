"""Turns the unpacked Debian packages into clean prose, one paragraph per line.

    python texts.py <data-folder>

Reads <data>/u/<package> and <data>/src (see fetch_texts.sh), writes <data>/texts/<id>.txt and
<data>/texts/texts.json. Nothing written here goes into the repository except the provenance.
"""
import glob
import gzip
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import zlib

DATA = sys.argv[1]
AUSTEN = "Jane Austen died in 1817; the novels appeared between 1811 and 1818."
# id, split, epochs, package, path (glob) inside it, item (for R data), title, author, why it is public domain
TEXTS = [
    ("sense", "train", 3, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "sense", "Sense and Sensibility", "Jane Austen", AUSTEN),
    ("pride", "train", 3, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "pride", "Pride and Prejudice", "Jane Austen", AUSTEN),
    ("mansfield", "train", 3, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "mansfield", "Mansfield Park", "Jane Austen", AUSTEN),
    ("emma", "train", 3, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "emma", "Emma", "Jane Austen", AUSTEN),
    ("northanger", "train", 3, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "northanger", "Northanger Abbey", "Jane Austen", AUSTEN),
    ("persuasion", "heldout", 0, "r-cran-janeaustenr", "**/janeaustenr/data/Rdata.rdb", "persuasion", "Persuasion", "Jane Austen", AUSTEN),
    ("holmes", "train", 3, "golang-github-pierrec-lz4-dev", "**/testdata/pg1661.txt", None, "The Adventures of Sherlock Holmes", "Arthur Conan Doyle", "Published in 1892; the author died in 1930."),
    ("moby", "train", 3, "r-cran-tokenizers", "**/tokenizers/data/Rdata.rdb", "mobydick", "Moby-Dick; or, The Whale", "Herman Melville", "Published in 1851; the author died in 1891."),
    ("alice", "train", 3, "snappy (source)", "snappy-*/testdata/alice29.txt", None, "Alice's Adventures in Wonderland", "Lewis Carroll", "Published in 1865; the author died in 1898."),
    ("opticks", "train", 1, "golang-1.19-src", "**/src/testdata/Isaac.Newton-Opticks.txt", None, "Opticks, fourth edition", "Isaac Newton", "Printed in 1730; the author died in 1727."),
    ("devil", "train", 1, "dict-devil", "**/devil.dict.dz", None, "The Devil's Dictionary", "Ambrose Bierce", "Published in 1911; the author died about 1914."),
    ("web", "train", 1, "sword-text-web", "**/mods.d/*.conf", None, "World English Bible", "M. P. Johnson and others (eBible.org)", "Dedicated to the public domain by its translators (package copyright file and module licence field)."),
    ("uslaw", "train", 1, "miscfiles", "**/state/us-*.gz", None, "Declaration of Independence; Constitution of the United States", "Congress of the United States", "Published in 1776 and 1787; works of the United States government."),
    ("sawyer", "heldout", 0, "golang-github-pierrec-lz4-dev", "**/testdata/Mark.Twain-Tom.Sawyer.txt", None, "The Adventures of Tom Sawyer", "Mark Twain", "Published in 1876; the author died in 1910."),
]


def r_vectors(path):
    """The character vectors of an R lazy-load database: length-prefixed zlib streams of XDR."""
    blob, at, out = open(path, "rb").read(), 0, []
    while at < len(blob):
        stream = zlib.decompressobj()
        raw = stream.decompress(blob[at + 4:])
        at = len(blob) - len(stream.unused_data)
        strings, i = [], raw.index(b"UTF-8") + 5
        kind = struct.unpack(">i", raw[i:i + 4])[0] & 255
        assert kind == 16, kind
        count = struct.unpack(">i", raw[i + 4:i + 8])[0]
        i += 8
        for _ in range(count):
            size = struct.unpack(">i", raw[i + 4:i + 8])[0]
            strings.append(raw[i + 8:i + 8 + max(size, 0)].decode("utf8", "replace"))
            i += 8 + max(size, 0)
        out.append(strings)
    return out


# The database keeps its objects in alphabetical order of their R names.
AUSTEN_ORDER = ["emma", "mansfield", "northanger", "persuasion", "pride", "sense"]


def raw_text(package, pattern, item):
    root = os.path.join(DATA, "src") if "(source)" in package else os.path.join(DATA, "u", package)
    paths = sorted(glob.glob(os.path.join(root, pattern), recursive=True))
    assert paths, (package, pattern)
    if package == "sword-text-web":
        out = subprocess.run(["mod2imp", "engWEB2015eb"], capture_output=True, check=True,
                             env={**os.environ, "SWORD_PATH": os.path.join(root, "usr/share/sword")}).stdout.decode("utf8", "replace")
        verses, paragraph, where = [], [], ""
        for block in out.split("$$$")[1:]:
            head, _, body = block.partition("\n")
            m = re.match(r"(.+) (\d+):(\d+)$", head.strip())
            if not m or m[2] == "0" or m[3] == "0":
                continue
            if where.startswith("Revelation") and not m[1].startswith("Revelation"):
                break  # a glossary follows
            body = re.sub(r"<note.*?</note>|<title.*?</title>", " ", body, flags=re.S)
            body = re.sub(r" (?=[,.;:!?’”])", "", " ".join(re.sub(r"<[^>]*>", "", body).split()))
            # a paragraph is up to five verses of one chapter
            if where != m[1] + m[2] or len(paragraph) == 5:
                verses.append(" ".join(paragraph))
                paragraph, where = [], m[1] + m[2]
            paragraph.append(body)
        verses.append(" ".join(paragraph))
        return paths, "\n\n".join(verses)
    if item == "mobydick":
        return paths, r_vectors(paths[0])[0][0]
    if item:
        return paths, "\n".join(r_vectors(paths[0])[AUSTEN_ORDER.index(item)])
    data = b"\n\n".join(gzip.decompress(open(p, "rb").read()) if p.endswith((".gz", ".dz")) else open(p, "rb").read() for p in paths)
    return paths, data.decode("utf8", "replace")


def clean(text):
    """Plain ASCII-ish paragraphs: no Gutenberg frame, no hard wraps, no headings or tables."""
    text = text.replace("\r", "").replace("\ufeff", "")
    start = re.search(r"\*\*\* ?START OF.*?\*\*\*", text)
    end = re.search(r"\*\*\* ?END OF|End of (the )?Project Gutenberg|\nEnd of Project", text)
    text = text[start.end() if start else 0:end.start() if end else len(text)]
    for a, b in (("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2014", "--"), ("\u2013", "-"), ("``", '"'), ("''", '"')):
        text = text.replace(a, b)
    text = text.encode("ascii", "ignore").decode()
    text = re.sub(r"\[(Illustration|Footnote|sic)[^\]]*\]", "", text)
    out = []
    for block in re.split(r"\n\s*\n", text):
        p = " ".join(block.replace("_", "").split())
        letters = sum(c.isalpha() for c in p)
        caps = sum(c.isupper() for c in p)
        if len(p) < 25 or p[0] == "*" or letters < 0.65 * len(p) or caps > 0.3 * letters:
            continue  # headings, tables, page furniture
        if re.search(r"gutenberg|\be-?book|produced by|proofread|transcriber|00-database|original data|internet wiretap|wiretap|aloysius|we substituted a capital"
                     r"|copyright|signet classic|^a scandal in|^i\. a scandal|abcdefghijkl", p, re.I):
            continue  # notes of the editors, not of the author
        out.append(p)
    return "\n".join(out) + "\n"


def main():
    folder = os.path.join(DATA, "texts")
    os.makedirs(folder, exist_ok=True)
    records = []
    for ident, split, epochs, package, pattern, item, title, author, why in TEXTS:
        paths, raw = raw_text(package, pattern, item)
        text = clean(raw)
        if ident == "sawyer":
            text = text[text.index("MOST of the adventures") if "MOST of the adventures" in text else 0:]
        open(os.path.join(folder, ident + ".txt"), "w").write(text)
        name = package.split(" ")[0]
        debs = glob.glob(os.path.join(DATA, "debs", name + "_*.deb")) or glob.glob(os.path.join(DATA, "src", name + "_*.dsc"))
        version = os.path.basename(debs[0]).split("_")[1].replace(".dsc", "").replace("%3a", ":") if debs else "unknown"
        root = os.path.join(DATA, "src" if "(source)" in package else os.path.join("u", package))
        records.append({"id": ident, "split": split, "epochs": epochs, "title": title, "author": author, "publicDomain": why,
                        "debianPackage": package, "version": version, "paths": [os.path.relpath(p, root) for p in paths],
                        "item": item, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})
        print(ident, split, len(text), repr(text[:90]), repr(text[-90:]))
    json.dump(records, open(os.path.join(folder, "texts.json"), "w"), indent=1)


main()
