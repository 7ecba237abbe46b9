#!/usr/bin/env python3
"""Writes src/format/grids.c: the codebooks of the IQ formats.

The tables come from the `gguf` package (pip install gguf), which holds ggml's constants, and are checked against the
SHA-256 of the expanded rows. Each row is written as a 16-bit word of small codes; macros expand it when it is compiled.

    tools/make-grids.py > src/format/grids.c
"""
import hashlib
import sys

import numpy as np
from gguf import quants

# name, class in the package, bits per code, values, SHA-256 of all rows as bytes
GRIDS = [
    ("iq2_xxs", quants.IQ2_XXS, 2, [8, 25, 43], "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54"),
    ("iq2_xs", quants.IQ2_XS, 2, [8, 25, 43], "06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de"),
    ("iq2_s", quants.IQ2_S, 2, [8, 25, 43], "e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88"),
    ("iq3_xxs", quants.IQ3_XXS, 3, [4, 12, 20, 28, 36, 44, 52, 62],
     "46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d"),
    ("iq3_s", quants.IQ3_S, 3, [1, 3, 5, 7, 9, 11, 13, 15],
     "bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f"),
    ("iq1_s", quants.IQ1_S, 2, [-1, 0, 1], "07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a"),
]
PER_LINE = 12

HEAD = """\
/* grids.c - written by tools/make-grids.py; do not edit. See grids.h.
 *
 * One word per row: code k of a row is (word >> bits * k) & mask, and element k is the value of that code.
 */
#include "format/grids.h"

/* clang-format off */
#define CODE2(w, k) ((w) >> 2 * (k) & 3)
#define CODE3(w, k) ((w) >> 3 * (k) & 7)
#define IQ2(w, k)    (CODE2(w, k) == 0 ? 8 : CODE2(w, k) == 1 ? 25 : 43)
#define IQ1(w, k)    (CODE2(w, k) - 1)
#define IQ3XXS(w, k) (CODE3(w, k) == 7 ? 62 : 8 * CODE3(w, k) + 4)
#define IQ3S(w, k)   (2 * CODE3(w, k) + 1)
#define ROW8(value, w) {value(w, 0), value(w, 1), value(w, 2), value(w, 3), \\
                        value(w, 4), value(w, 5), value(w, 6), value(w, 7)}
#define ROW4(value, w) {value(w, 0), value(w, 1), value(w, 2), value(w, 3)}
"""
ROWS = {"iq2_xxs": "ROW8(IQ2, w)", "iq2_xs": "ROW8(IQ2, w)", "iq2_s": "ROW8(IQ2, w)", "iq1_s": "ROW8(IQ1, w)",
        "iq3_xxs": "ROW4(IQ3XXS, w)", "iq3_s": "ROW4(IQ3S, w)"}


def main():
    print(HEAD, end="")
    for name, source, bits, values, sha256 in GRIDS:
        source.init_grid()
        rows = source.grid[0, 0].astype(np.int8)
        found = hashlib.sha256(rows.tobytes()).hexdigest()
        if found != sha256:
            sys.exit(f"grid {name}: SHA-256 is {found}, expected {sha256}: another version of the gguf package?")
        codes = np.vectorize(values.index)(rows)
        words = (codes << (bits * np.arange(rows.shape[1]))).sum(axis=1)
        print(f"\n#define R(w) {ROWS[name]}")
        print(f"const int8_t grid_{name}[{rows.shape[0]}][{rows.shape[1]}] = {{")
        for i in range(0, len(words), PER_LINE):
            print("    " + " ".join(f"R({w})," for w in words[i:i + PER_LINE]))
        print("};\n#undef R")


if __name__ == "__main__":
    main()
