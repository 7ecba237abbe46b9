/* kernel_check_data.c - contents of weights and activations that find wrong kernels: random ones, and each extreme
 * of codes and scales. The first CHECK_SANE_... kinds keep every result finite and far from underflow. */
#include "kernel_check.h"

#include "base/bytes.h"

#include <math.h>

enum { ANY_BYTES = 8 };

static const char *const weight_names[CHECK_WEIGHT_KINDS] = {
    "random",      "all bits set", "all bits clear", "alternating nibbles", "extreme bytes",
    "zero scales", "subnormal",    "huge scales",    "any bytes",
};

static const char *const act_names[CHECK_ACT_KINDS] = {
    "normal", "all equal", "alternating", "one spike", "all negative", "zeros mixed in", "tiny", "huge", "infinities",
};

const char *check_weight_name(int kind)
{
    return weight_names[kind];
}

const char *check_act_name(int kind)
{
    return act_names[kind];
}

static uint8_t code_byte(int kind, size_t i)
{
    switch (kind) {
    case 1: return 0xff;
    case 2: return 0;
    case 3: return i % 2 ? 0xf0 : 0x0f;
    case 4: return i % 3 ? 0x80 : 0x7f;
    default: return (uint8_t)check_random();
    }
}

static uint16_t half_scale(int kind)
{
    uint16_t sign = (uint16_t)(check_random() & 0x8000u);
    switch (kind) {
    case 5: return sign;
    case 6: return (uint16_t)(sign | (check_random() & 0x3ffu));
    case 7: return (uint16_t)(sign | 0x7bffu);
    default: return f16_from_f32(check_uniform(-1.0f, 1.0f) * ldexpf(1.0f, (int)check_below(8) - 6));
    }
}

static void put_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Byte offsets of a block's 16-bit scales; 0 bytes of scales where the format has other kinds. */
static int half_offsets(enum format format, int offsets[2])
{
    switch (format) {
    case FORMAT_Q4_1:
    case FORMAT_Q5_1:
    case FORMAT_Q4_K:
    case FORMAT_Q5_K: offsets[0] = 0, offsets[1] = 2; return 2;
    case FORMAT_Q2_K: offsets[0] = 80, offsets[1] = 82; return 2;
    case FORMAT_Q3_K: offsets[0] = 108; return 1;
    case FORMAT_Q6_K: offsets[0] = 208; return 1;
    case FORMAT_TQ1_0: offsets[0] = 52; return 1;
    case FORMAT_TQ2_0: offsets[0] = 64; return 1;
    case FORMAT_F32:
    case FORMAT_F16:
    case FORMAT_BF16:
    case FORMAT_MXFP4:
    case FORMAT_NVFP4:
    case FORMAT_IQ1_M: return 0;
    default: offsets[0] = 0; return 1;
    }
}

static void fill_float(enum format format, int kind, uint8_t *p)
{
    static const float extremes[CHECK_WEIGHT_KINDS] = {0.0f, 1.0f, 0.0f, -1.0f, 3.0f, -0.0f, 0x1p-140f, 3e38f, 0.0f};
    float x = kind == 0 ? check_normal() : extremes[kind];
    if (kind == 3 || kind == 7) x *= check_random() & 1u ? 1.0f : -1.0f;
    if (format == FORMAT_F32) {
        uint32_t bits = kind == ANY_BYTES ? (uint32_t)check_random() : f32_bits(x);
        memcpy(p, &bits, sizeof bits);
    } else if (kind == ANY_BYTES) {
        put_u16(p, (uint16_t)check_random());
    } else if (format == FORMAT_F16) {
        put_u16(p, kind == 6 ? (uint16_t)check_below(1024) : kind == 7 ? 0x7bff : f16_from_f32(x));
    } else {
        put_u16(p, bf16_from_f32(x));
    }
}

static void fill_block(enum format format, int kind, uint8_t *p, size_t size_bytes)
{
    int offsets[2], n_scales = half_offsets(format, offsets);
    for (size_t i = 0; i < size_bytes; i++)
        p[i] = code_byte(kind, i);
    if (kind == ANY_BYTES) return;
    for (int i = 0; i < n_scales; i++)
        put_u16(p + offsets[i], half_scale(kind));
    if (format == FORMAT_MXFP4)
        p[0] = (uint8_t)(kind == 5 || kind == 6 ? check_below(3) : kind == 7 ? 254 : 118 + check_below(16));
    if (format == FORMAT_NVFP4) {
        for (int i = 0; i < 4; i++)
            p[i] = (uint8_t)(kind == 5 ? 0 : kind == 6 ? check_below(8) : kind == 7 ? 0x7e : check_below(127));
    }
    if (format == FORMAT_IQ1_M) { /* one half, spread over four top nibbles */
        uint16_t d = half_scale(kind);
        for (int i = 0; i < 4; i++)
            p[49 + 2 * i] = (uint8_t)((p[49 + 2 * i] & 15) | (d >> 4 * i & 15) << 4);
    }
}

void check_fill_weights(enum format format, int kind, uint8_t *blocks, size_t n_blocks)
{
    size_t size_bytes = format_info(format)->block_bytes;
    for (size_t b = 0; b < n_blocks; b++, blocks += size_bytes) {
        if (format == FORMAT_F32 || format == FORMAT_F16 || format == FORMAT_BF16)
            fill_float(format, kind, blocks);
        else
            fill_block(format, kind, blocks, size_bytes);
    }
}

static float act(int kind, size_t i)
{
    switch (kind) {
    case 1: return 3.5f;
    case 2: return i % 2 ? 1.0f : -1.0f;
    case 3: return i % 61 == 17 ? 1000.0f : check_uniform(-1.0f, 1.0f);
    case 4: return check_below(4) ? -7.0f : -6.9f;
    case 5: return i / 32 % 3 == 0 ? 0.0f : check_uniform(-2.0f, 2.0f);
    case 6: return check_uniform(-1.0f, 1.0f) * ldexpf(1.0f, i / 256 % 2 ? -119 - (int)(i / 32 % 3) : -122);
    case 7: return check_normal() * 0x1p120f;
    case 8: return check_below(100) ? check_normal() : check_below(2) ? INFINITY : NAN;
    default: return check_normal();
    }
}

void check_fill_acts(int kind, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = act(kind, i);
}
