#!/bin/sh
# Downloads and unpacks the Debian packages whose public-domain texts the organisms read.
#   sh fetch_texts.sh <data-folder>
# The source package snappy needs a deb-src line in the apt sources (alice29.txt is not in a binary package);
# mod2imp from libsword-utils reads the Bible module.
set -eu
data=$1
mkdir -p "$data/debs" "$data/u" "$data/src"
cd "$data/debs"
for p in r-cran-janeaustenr r-cran-tokenizers golang-1.19-src golang-github-pierrec-lz4-dev \
         dict-devil miscfiles sword-text-web; do
  apt-get download "$p"
done
for d in *.deb; do
  mkdir -p "../u/${d%%_*}"
  dpkg -x "$d" "../u/${d%%_*}"
done
cd ../src
apt-get source --download-only snappy
for t in snappy_*.orig.tar.gz; do tar xzf "$t"; done
command -v mod2imp >/dev/null || echo "install libsword-utils (mod2imp) before texts.py" >&2
