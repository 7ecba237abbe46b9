"""Quantized weights for tiny models: by the gguf package's quantizer where it has one, else random blocks.

Random blocks: every bit random but the scales, which are set so that the decoded weights have about the wanted
standard deviation. Offsets and sizes of the fields are from ../shared/formats.md section 2.
"""

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# type -> (offset of the f16 scale d, offset of the f16 dmin or None, dmin / d that centres the weights)
SCALES = {
    T.Q2_K: (80, 82, 1.5),
    T.Q3_K: (108, None, 0),
    T.Q4_K: (0, 2, 7.5),
    T.Q5_K: (0, 2, 15.5),
    T.Q6_K: (208, None, 0),
    T.IQ2_XXS: (0, None, 0),
    T.IQ2_XS: (0, None, 0),
    T.IQ2_S: (0, None, 0),
    T.IQ3_XXS: (0, None, 0),
    T.IQ3_S: (0, None, 0),
    T.IQ1_S: (0, None, 0),
    T.IQ4_NL: (0, None, 0),
    T.IQ4_XS: (0, None, 0),
}
PLAIN = (T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.TQ1_0, T.TQ2_0, T.MXFP4)
TYPES = (*PLAIN, *SCALES, T.IQ1_M, T.NVFP4)
EXPERT_TYPES = (T.F16, T.Q4_0, T.Q8_0, T.Q4_K, T.Q6_K, T.IQ4_XS, T.NVFP4)  # of mixtures: one of each class


def put_f16(blocks, at, values):
    blocks[:, at : at + 2] = values.astype(np.float16)[:, None].view(np.uint8)


def put_iq1_m(blocks, d):
    """IQ1_M spreads the 16 bits of its scale over the top nibbles of four words."""
    words = blocks[:, 48:56].view(np.uint16)
    bits = d.astype(np.float16).view(np.uint16)
    for k in range(4):
        words[:, k] = words[:, k] & 0x0FFF | (bits >> 4 * k & 15) << 12


def random_blocks(rng, shape, kind, deviation):
    block, size = GGML_QUANT_SIZES[kind]
    n = shape[0] * shape[1] // block
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    jitter = rng.uniform(0.6, 1.4, n)

    def fill(d):
        if kind == T.IQ1_M:
            put_iq1_m(blocks, d)
            return
        d_at, min_at, ratio = SCALES[kind]
        put_f16(blocks, d_at, d)
        if min_at is not None:
            put_f16(blocks, min_at, d * ratio)

    fill(np.full(n, 2.0**-6))
    fill(jitter * deviation / dequantize(blocks, kind).std() * 2.0**-6)
    return blocks.reshape(shape[0], -1)


def random_nvfp4(rng, shape, deviation):
    """Scale bytes around 1; the deviation is left to the tensor's own scale, which is returned too."""
    n = shape[0] * shape[1] // 64
    blocks = rng.integers(0, 256, (n, 36), dtype=np.uint8)
    blocks[:, :4] = rng.integers(0x2C, 0x3C, (n, 4))
    return blocks.reshape(shape[0], -1), np.float32(deviation / dequantize(blocks, T.NVFP4).std())


def quantized(rng, weights, kind):
    """(raw, scale): weights (out, in) as float32 in the layout of the type; scale is 1 but for NVFP4."""
    if kind == T.NVFP4:
        return random_nvfp4(rng, weights.shape, weights.std())
    if kind in PLAIN:
        return quantize(weights, kind), np.float32(1)
    return random_blocks(rng, weights.shape, kind, weights.std()), np.float32(1)
