#!/usr/bin/env python3
"""Golden data for the format room: blocks of every type with the floats that the gguf package decodes from them.

    make_format.py OUT_DIR        writes OUT_DIR/format.bin

A sequence of records, all little-endian:
    u32 id, elements per block, bytes per block, n_blocks, nan_equal; name as 16 bytes padded with zeros;
    n_blocks blocks; n_blocks * elements floats.
nan_equal 1: any NaN equals any other (which one comes out differs between processors). n_blocks 0: only the sizes are
known to the package. Q1_0 and Q2_0 have no decoder there: they are computed here from their definition.
"""
import struct
import sys
from itertools import product
from pathlib import Path

import numpy as np
import gguf
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T

rng = np.random.default_rng(20261123)
N_RANDOM = 300

# Where each type keeps its f16 scales.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0], T.IQ3_XXS: [0],
    T.IQ3_S: [0], T.IQ1_S: [0], T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.Q1_0: [0],
}
# zeros, subnormals, smallest normal, ordinary, largest; both signs
F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x2C00, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF]
F16_WILD = [0x7C00, 0xFC00, 0x7E00, 0x7D01]  # infinities, NaN
PAYLOADS = [0x00, 0xFF, 0x55, 0xAA, 0x7F, 0x80, None]  # None: random


def put_scale(block, offset, bits):
    block[offset:offset + 2] = np.frombuffer(struct.pack("<H", bits), np.uint8)


def put_iq1_m(block, bits):
    for k in range(4):
        block[49 + 2 * k] = block[49 + 2 * k] & 15 | (bits >> 4 * k & 15) << 4


def payload(fill, size):
    return rng.integers(0, 256, size, dtype=np.uint8) if fill is None else np.full(size, fill, np.uint8)


def random_f16():
    while True:
        bits = int(rng.integers(0, 65536))
        if bits >> 10 & 31 != 31:
            return bits


def scaled_blocks(id_, size, values):
    """Blocks with every combination of these scales, over several payloads."""
    offsets = SCALES.get(id_, [0])
    blocks = []
    for fill in PAYLOADS:
        for scales in product(values, repeat=1 if id_ == T.IQ1_M else len(offsets)):
            block = payload(fill, size)
            if id_ == T.IQ1_M:
                put_iq1_m(block, scales[0])
            else:
                for offset, bits in zip(offsets, scales):
                    put_scale(block, offset, bits)
            blocks.append(block)
    return blocks


def random_blocks(id_, size):
    blocks = []
    for _ in range(N_RANDOM):
        block = payload(None, size)
        if id_ == T.IQ1_M:
            put_iq1_m(block, random_f16())
        else:
            for offset in SCALES.get(id_, [0]):
                put_scale(block, offset, random_f16())
        blocks.append(block)
    return blocks


def mxfp4_blocks():
    for e, fill in product(range(255), [0x10, None]):  # 255 means NaN
        block = payload(fill, 17)
        if fill is not None:
            block[1:] = np.arange(16) | 0xF0
        block[0] = e
        yield block


def nvfp4_blocks():
    for e, fill in product(range(255), [0x00, 0xFF, None]):  # 255 is a NaN that the package does not treat as one
        block = payload(fill, 36)
        block[:4] = [e, *rng.integers(0, 255, 3)]
        yield block


def halves(blocks):
    return np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)


def q1_0(blocks):
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(bool)
    return np.where(bits, halves(blocks), -halves(blocks))


def q2_0(blocks):
    bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(np.int32)
    codes = bits[:, 0::2] + 2 * bits[:, 1::2]
    return halves(blocks) * (codes - 1).astype(np.float32)


def decode(id_, blocks):
    if id_ == T.Q1_0:
        return q1_0(blocks)
    if id_ == 42:
        return q2_0(blocks)
    return gguf.quants.dequantize(blocks, id_)


def write(out, id_, name, elements, size, blocks, nan_equal=False):
    blocks = np.array(list(blocks), np.uint8).reshape(-1, size)
    out.write(struct.pack("<5I16s", int(id_), elements, size, len(blocks), nan_equal, name.encode()))
    if not len(blocks):
        return
    with np.errstate(all="ignore"):
        floats = decode(id_, blocks).astype(np.float32, casting="equiv").ravel()
    assert floats.size == len(blocks) * elements, name
    assert nan_equal or not np.isnan(floats).any(), name
    out.write(blocks.tobytes() + floats.astype("<f4").tobytes())


def write_plain(out):
    every = np.arange(65536, dtype=np.uint16)
    f16_nan = (every & 0x7C00 == 0x7C00) & (every & 0x3FF != 0)
    bf16_nan = (every & 0x7F80 == 0x7F80) & (every & 0x7F != 0)
    f32 = rng.integers(0, 2**32, 4096, dtype=np.uint32)
    f32 = np.concatenate([f32, [0, 1, 0x80000000, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000]]).astype(np.uint32)
    f32_nan = (f32 & 0x7F800000 == 0x7F800000) & (f32 & 0x7FFFFF != 0)
    for id_, values, nan in (T.F32, f32, f32_nan), (T.F16, every, f16_nan), (T.BF16, every, bf16_nan):
        elements, size = GGML_QUANT_SIZES[id_]
        for part, nan_equal in (values[~nan], False), (values[nan], True):
            if len(part):
                write(out, id_, id_.name, elements, size, part.view(np.uint8).reshape(-1, size), nan_equal)


def main():
    out_dir = Path(sys.argv[1])
    out_dir.mkdir(parents=True, exist_ok=True)
    with open(out_dir / "format.bin", "wb") as out:
        write_plain(out)
        sizes = {id_: (id_.name, *pair) for id_, pair in GGML_QUANT_SIZES.items()}
        sizes[42] = ("Q2_0", 64, 18)
        for id_, (name, elements, size) in sizes.items():
            if id_ in (T.F32, T.F16, T.BF16):
                continue
            if id_ == T.MXFP4:
                write(out, id_, name, elements, size, mxfp4_blocks())
            elif id_ == T.NVFP4:
                write(out, id_, name, elements, size, nvfp4_blocks())
            elif id_ in SCALES or id_ in (42, T.IQ1_M):
                write(out, id_, name, elements, size, scaled_blocks(id_, size, F16) + random_blocks(id_, size))
                write(out, id_, name, elements, size, scaled_blocks(id_, size, F16_WILD), nan_equal=True)
            else:
                write(out, id_, name, elements, size, [])


if __name__ == "__main__":
    main()
