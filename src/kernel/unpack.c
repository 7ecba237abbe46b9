/* unpack.c - the table of canonical forms; blocks of 32, FP4, K-quants and ternary. The IQ types: unpack_iq.c.
 *
 * Layouts: docs/formats.md. The meaning of a block is defined by format/decode*.c; kernel_check compares.
 */
#include "kernel/unpack.h"

#include "format/smallfloat.h"

static float half(const uint8_t *p)
{
    return f32_from_f16(load_u16(p));
}

/* 32 codes of 4 bits: low nibbles are elements 0..15, high nibbles 16..31. */
static void nibbles(const uint8_t *qs, int offset, int8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = (int8_t)((qs[i] & 15) - offset);
        codes[i + 16] = (int8_t)((qs[i] >> 4) - offset);
    }
}

static void nibbles_mapped(const uint8_t *qs, const int8_t map[16], int8_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = map[qs[i] & 15];
        codes[i + 16] = map[qs[i] >> 4];
    }
}

/* The fifth bits of 32 codes. */
static void fifth_bits(const uint8_t *qh, int8_t *codes)
{
    uint32_t bits = load_u32(qh);
    for (int i = 0; i < 32; i++)
        codes[i] = (int8_t)(codes[i] + (int)(bits >> i & 1u) * 16);
}

static void unpack_q4_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 18) {
        out->d[b] = half(p);
        nibbles(p + 2, 8, out->codes + 32 * b);
    }
}

static void unpack_q4_1(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 20) {
        out->d[b] = half(p);
        out->m[b] = half(p + 2);
        nibbles(p + 4, 0, out->codes + 32 * b);
    }
}

static void unpack_q5_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 22) {
        out->d[b] = half(p);
        nibbles(p + 6, 16, out->codes + 32 * b);
        fifth_bits(p + 2, out->codes + 32 * b);
    }
}

static void unpack_q5_1(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 24) {
        out->d[b] = half(p);
        out->m[b] = half(p + 2);
        nibbles(p + 8, 0, out->codes + 32 * b);
        fifth_bits(p + 4, out->codes + 32 * b);
    }
}

static void unpack_q8_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 34) {
        out->d[b] = half(p);
        memcpy(out->codes + 32 * b, p + 2, 32);
    }
}

static void unpack_iq4_nl(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 18) {
        out->d[b] = half(p);
        nibbles_mapped(p + 2, smallfloat_iq4_nl, out->codes + 32 * b);
    }
}

/* Codes are 2 x E2M1, so scales are half of the stored ones. */
static void unpack_mxfp4(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++, p += 17) {
        out->d[b] = f32_from_e8m0(p[0]) * 0.5f;
        nibbles_mapped(p + 1, smallfloat_e2m1_x2, out->codes + 32 * b);
    }
}

static void unpack_nvfp4(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t s = 0; s < n / 16; s++) {
        const uint8_t *block = p + 36 * (s / 4), *qs = block + 4 + 8 * (s % 4);
        out->d[s] = f32_from_ue4m3(block[s % 4]) * 0.5f;
        for (int i = 0; i < 8; i++) {
            out->codes[16 * s + (size_t)i] = smallfloat_e2m1_x2[qs[i] & 15];
            out->codes[16 * s + (size_t)i + 8] = smallfloat_e2m1_x2[qs[i] >> 4];
        }
    }
}

static void unpack_q1_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++) {
        const uint8_t *block = p + 18 * (b / 4);
        uint32_t bits = load_u32(block + 2 + 4 * (b % 4));
        out->d[b] = half(block);
        for (int i = 0; i < 32; i++)
            out->codes[32 * b + (size_t)i] = (bits >> i & 1u) ? 1 : -1;
    }
}

static void unpack_q2_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    for (size_t b = 0; b < n / 32; b++) {
        const uint8_t *block = p + 18 * (b / 2), *qs = block + 2 + 8 * (b % 2);
        out->d[b] = half(block);
        for (int i = 0; i < 32; i++)
            out->codes[32 * b + (size_t)i] = (int8_t)((qs[i / 4] >> 2 * (i % 4) & 3) - 1);
    }
}

/* 256 codes of 2 bits: of each 32 bytes, bits 0-1 are elements 0..31, bits 2-3 elements 32..63 and so on. */
static void pairs_of_bits(const uint8_t *qs, int offset, int8_t *codes)
{
    for (int i = 0; i < 256; i++)
        codes[i] = (int8_t)((qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3) - offset);
}

static void unpack_q2_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    pairs_of_bits(p + 16, 0, out->codes);
    for (int s = 0; s < 16; s++) {
        out->scales[s] = p[s] & 15;
        out->mins[s] = p[s] >> 4;
    }
    out->super_d = half(p + 80);
    out->super_min = half(p + 82);
}

static void unpack_q3_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    const uint8_t *hmask = p, *scales = p + 96;
    (void)n;
    pairs_of_bits(p + 32, 4, out->codes);
    for (int i = 0; i < 256; i++)
        out->codes[i] = (int8_t)(out->codes[i] + 4 * (hmask[i % 32] >> i / 32 & 1));
    for (int s = 0; s < 16; s++) {
        int low = scales[s % 8] >> 4 * (s / 8) & 15, high = scales[8 + s % 4] >> 2 * (s / 4) & 3;
        out->scales[s] = (int16_t)((low | high << 4) - 32);
    }
    out->super_d = half(p + 108);
}

/* Eight 6-bit scales and minimums in 12 bytes (Q4_K, Q5_K), each doubled to serve 16 elements. */
static void scales_k4(const uint8_t *packed, struct unpacked *out)
{
    for (int j = 0; j < 8; j++) {
        int scale, min;
        if (j < 4) {
            scale = packed[j] & 63;
            min = packed[j + 4] & 63;
        } else {
            scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
            min = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
        }
        out->scales[2 * j] = out->scales[2 * j + 1] = (int16_t)scale;
        out->mins[2 * j] = out->mins[2 * j + 1] = (int16_t)min;
    }
}

static void unpack_q4_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    out->super_d = half(p);
    out->super_min = half(p + 2);
    scales_k4(p + 4, out);
    for (int i = 0; i < 256; i++)
        out->codes[i] = (int8_t)(p[16 + 32 * (i / 64) + i % 32] >> 4 * (i / 32 & 1) & 15);
}

static void unpack_q5_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    out->super_d = half(p);
    out->super_min = half(p + 2);
    scales_k4(p + 4, out);
    for (int i = 0; i < 256; i++) {
        int low = p[48 + 32 * (i / 64) + i % 32] >> 4 * (i / 32 & 1) & 15, high = p[16 + i % 32] >> i / 32 & 1;
        out->codes[i] = (int8_t)(low | high << 4);
    }
}

static void unpack_q6_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    for (int i = 0; i < 256; i++) {
        int part = i / 128, g = i % 128 / 32, l = i % 32;
        int low = p[64 * part + 32 * (g & 1) + l] >> 4 * (g >> 1) & 15, high = p[128 + 32 * part + l] >> 2 * g & 3;
        out->codes[i] = (int8_t)((low | high << 4) - 32);
    }
    for (int s = 0; s < 16; s++)
        out->scales[s] = (int8_t)p[192 + s];
    out->super_d = half(p + 208);
}

static void scales_one(struct unpacked *out)
{
    for (int s = 0; s < 16; s++)
        out->scales[s] = 1;
}

/* Five base-3 digits in a byte (four in the last bytes), first digit most significant, stored as a fraction of 256:
 * digit n is the integer part of 3 x the fraction that is left after n digits. */
static void unpack_tq1_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    for (int i = 0; i < 256; i++) {
        int byte, digit;
        if (i < 160) {
            byte = i % 32;
            digit = i / 32;
        } else if (i < 240) {
            byte = 32 + (i - 160) % 16;
            digit = (i - 160) / 16;
        } else {
            byte = 48 + (i - 240) % 4;
            digit = (i - 240) / 4;
        }
        out->codes[i] = (int8_t)(((p[byte] * powers[digit] & 255) * 3 >> 8) - 1);
    }
    scales_one(out);
    out->super_d = half(p + 52);
}

static void unpack_tq2_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    pairs_of_bits(p, 1, out->codes);
    scales_one(out);
    out->super_d = half(p + 64);
}

const struct unpack_format unpack_table[FORMAT_COUNT] = {
    [FORMAT_F32] = {UNPACK_FLOAT, false, 0, 0, NULL},
    [FORMAT_F16] = {UNPACK_FLOAT, false, 0, 0, NULL},
    [FORMAT_BF16] = {UNPACK_FLOAT, false, 0, 0, NULL},
    [FORMAT_Q4_0] = {UNPACK_B32, false, 8, 15, unpack_q4_0},
    [FORMAT_Q4_1] = {UNPACK_B32, true, 0, 15, unpack_q4_1},
    [FORMAT_Q5_0] = {UNPACK_B32, false, 16, 31, unpack_q5_0},
    [FORMAT_Q5_1] = {UNPACK_B32, true, 0, 31, unpack_q5_1},
    [FORMAT_Q8_0] = {UNPACK_B32, false, 128, 255, unpack_q8_0},
    [FORMAT_IQ4_NL] = {UNPACK_B32, false, 128, 241, unpack_iq4_nl},
    [FORMAT_MXFP4] = {UNPACK_B32, false, 12, 24, unpack_mxfp4},
    [FORMAT_Q1_0] = {UNPACK_B32, false, 1, 2, unpack_q1_0},
    [FORMAT_Q2_0] = {UNPACK_B32, false, 1, 3, unpack_q2_0},
    [FORMAT_NVFP4] = {UNPACK_NVFP4, false, 12, 24, unpack_nvfp4},
    [FORMAT_Q2_K] = {UNPACK_S256, true, 0, 3, unpack_q2_k},
    [FORMAT_Q3_K] = {UNPACK_S256, false, 4, 7, unpack_q3_k},
    [FORMAT_Q4_K] = {UNPACK_S256, true, 0, 15, unpack_q4_k},
    [FORMAT_Q5_K] = {UNPACK_S256, true, 0, 31, unpack_q5_k},
    [FORMAT_Q6_K] = {UNPACK_S256, false, 32, 63, unpack_q6_k},
    [FORMAT_IQ2_XXS] = {UNPACK_S256, false, 43, 86, unpack_iq2_xxs},
    [FORMAT_IQ2_XS] = {UNPACK_S256, false, 43, 86, unpack_iq2_xs},
    [FORMAT_IQ2_S] = {UNPACK_S256, false, 43, 86, unpack_iq2_s},
    [FORMAT_IQ3_XXS] = {UNPACK_S256, false, 62, 124, unpack_iq3_xxs},
    [FORMAT_IQ3_S] = {UNPACK_S256, false, 15, 30, unpack_iq3_s},
    [FORMAT_IQ1_S] = {UNPACK_S256, false, 9, 18, unpack_iq1_s},
    [FORMAT_IQ1_M] = {UNPACK_S256, false, 9, 18, unpack_iq1_m},
    [FORMAT_IQ4_XS] = {UNPACK_S256, false, 128, 241, unpack_iq4_xs},
    [FORMAT_TQ1_0] = {UNPACK_S256, false, 1, 2, unpack_tq1_0},
    [FORMAT_TQ2_0] = {UNPACK_S256, false, 1, 2, unpack_tq2_0},
};
