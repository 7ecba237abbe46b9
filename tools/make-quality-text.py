#!/usr/bin/env python3
"""make-quality-text.py FOLDER: writes data/quality.txt, the text that `stile quality` measures with where no other is given.

FOLDER has the Debian packages golang-1.19-src and r-cran-janeaustenr, each unpacked (dpkg-deb -x) into a folder of its name,
and the sources of Debian's snappy (1.1.9) and tzdata (2026b), as folders of theirs. data/ORIGIN.md says what is taken from
where. The sources take turns, some
thousand bytes each, so that any beginning of the text has some of all.
"""

import html
import pathlib
import re
import struct
import sys
import zlib

PIECE = 5000
ROOT = pathlib.Path(__file__).resolve().parent.parent


def unwrap(text):
    """Paragraphs, each on one line."""
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip()]


def austen(folder):
    """Northanger Abbey, out of R's database: values one after the other, each its size and a zlib stream."""
    data = (folder / "r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    at = 0
    while at < len(data):
        stream = zlib.decompressobj()
        value = stream.decompress(data[at + 4 :])
        at = len(data) - len(stream.unused_data)
        if b"NORTHANGER ABBEY" in value[:200]:
            break
    lines, at = [], value.index(b"\x00\x04\x00\x09")
    while at + 8 <= len(value):
        n = struct.unpack(">i", value[at + 4 : at + 8])[0]
        lines.append(value[at + 8 : at + 8 + n].decode())
        at += 8 + n
    text = "\n".join(lines)
    return unwrap(text[text.index("CHAPTER 1") :])


def newton(folder):
    text = (folder / "golang-1.19-src/usr/share/go-1.19/src/testdata/Isaac.Newton-Opticks.txt").read_text()
    text = text[text.index("_Exper._ 3.") :]
    return [p for p in unwrap(text.replace("_", "")) if "Illustration" not in p and len(p) > 60]


def zones(folder):
    text = (folder / "tzdata/theory.html").read_text()
    text = text[text.index('<h2 id="scope">') :]
    marked = re.sub(r"</?(p|h\d|li|ol|ul|div|blockquote|tr|table|dt|dd|pre|section)\b[^>]*>", "\n\n", text)
    return unwrap(html.unescape(re.sub(r"<[^>]+>", "", marked)).replace("\xa0", " "))


def workshop(folder):
    text = (folder / "snappy/snappy-1.1.9/testdata/lcet10.txt").read_text(errors="replace")
    text = text[text.index("PROCEEDINGS", text.index("INTRODUCTION")) :]
    return [p for p in unwrap(text) if len(p) > 40 and p[0] not in "*+"]


def own(*names):
    return [p for name in names for p in re.split(r"\n(?=\n[^\s}])", (ROOT / name).read_text())]


def piece(paragraphs, joint):
    """Takes about PIECE bytes off the front."""
    n = 0
    taken = []
    while paragraphs and n < PIECE:
        taken.append(paragraphs.pop(0))
        n += len(taken[-1].encode())
    return joint.join(taken)


def main():
    folder = pathlib.Path(sys.argv[1])
    c = own("src/run/sampler.c", "src/text/bpe.c", "src/base/threads.c")
    python = own("bench/peers.py", "tools/fit-efficiency.py")
    prose = own("docs/measuring.md", "docs/formats.md")
    turns = 9
    sources = [
        (austen(folder), "\n\n"),
        (zones(folder), "\n\n"),
        (c, "\n"),
        (workshop(folder), "\n\n"),
        (prose, "\n"),
        (newton(folder), "\n\n"),
        (python, "\n"),
    ]
    pieces = []
    for turn in range(turns):
        for paragraphs, joint in sources:
            if joint == "\n" and turn % 3 == 2:
                continue  # less of code and of our own prose
            if paragraphs:
                pieces.append(piece(paragraphs, joint).strip("\n"))
    text = "\n\n\n".join(pieces) + "\n"
    (ROOT / "data/quality.txt").write_text(text)
    print(f"{len(text.encode())} bytes, {len(pieces)} pieces")


main()
