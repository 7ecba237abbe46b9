/* kernel.h - arithmetic on one thread's share of the work, for every number format and instruction set.
 *
 * A kernel_table holds one function per job; kernel_select gives the table of an instruction set, filled from the
 * scalar one upward. Kernels allocate nothing, open nothing, keep no state; the caller splits the work (rows, heads,
 * tokens, never k) and provides scratch. All pointers need only the alignment of their type unless said otherwise.
 *
 * What a matrix product is, bit for bit (the scalar table is the definition in code; every other table gives the
 * same bits, at any split of rows and any number of tokens; a NaN is a NaN whatever its payload):
 *
 *   float weights (F32, F16, BF16), ACT_F32:
 *     pieces of KERNEL_FLOAT_PIECE elements, each summed in KERNEL_FLOAT_LANES lanes: lane l sums, in order of k, with
 *     fma, the products of the elements k with k mod 32 == l, both sides padded with zeros to a multiple of 32. Then the
 *     upper half of the lanes is added to the lower, lane by lane, five times, and what is left is added to acc, piece
 *     after piece.
 *
 *   blocks of 32 (Q4_0 ... Q8_0, IQ4_NL, MXFP4, Q1_0, Q2_0), ACT_Q8_32:
 *     with i = the exact integer sum of weight code x activation code over a block,
 *     acc = fma(d_weight * d_act, (float)i, acc), block after block; formats with a minimum (Q4_1, Q5_1) then
 *     acc = fma(m, s_act, acc), s_act = d_act * (float)(sum of activation codes).
 *
 *   NVFP4, ACT_Q8_32:
 *     per 32 elements t = fma(s1, (float)i1, s0 * (float)i0) over its two sub-blocks of 16,
 *     acc = fma(t, d_act, acc).
 *
 *   both of these then add residuals:
 *     the ACT_RESIDUALS blocks of a row with the largest d_act (NaN aside; ties: the lower index) are quantized a second
 *     time, x - d_act * code with a d_act of its own. After every 256 elements, and at the row's end, the residuals
 *     among these add to acc as their blocks did, in order of index. Outlier channels cost most of the precision of
 *     8-bit activations; this halves the distance of the logits from the exact ones.
 *
 *   super-blocks of 256 (K-quants, IQ1 ... IQ4_XS, TQ), ACT_Q8_256:
 *     i = exact integer sum over the super-block of sub-scale x code x activation code,
 *     acc = fma(d * d_act, (float)i, acc); formats with minimums (Q2_K, Q4_K, Q5_K) then
 *     acc = fma(-(dmin * d_act), (float)j, acc), j = exact sum of sub-minimum x sum of activation codes.
 *
 *   Finally y = acc * scale (if scale is not 1), y = y + bias (if there is one). What are codes and what scales of a
 *   format: unpack.h.
 *
 * Activation codes: per block d = amax / 127, code = round to nearest, ties to even, of x * (127 / amax); amax under
 * 2^-120 gives d = 0 and codes 0 (127 / amax would overflow); an infinity or NaN gives d = NaN and codes 0.
 *
 * exp, tanh are our own polynomials, evaluated with fma in one fixed order: the same bits everywhere.
 */
#ifndef STILE_KERNEL_KERNEL_H
#define STILE_KERNEL_KERNEL_H

#include "format/format.h"

/* How activations are presented to a format of weights. */
enum kernel_act { ACT_F32, ACT_Q8_32, ACT_Q8_256 };

enum { ACT_RESIDUALS = 3 };

enum { KERNEL_FLOAT_LANES = 32, KERNEL_FLOAT_PIECE = 1024 };

enum { KERNEL_ALIGNMENT = 64 }; /* of activation rows and scratch */

/* One row of k activations:
 *
 *   ACT_F32     float x[k rounded up to KERNEL_FLOAT_LANES], the rest zero
 *
 *   ACT_Q8_32   int8_t q[k], float d[k/32], float s[k/32], int16_t sums[k/16], ACT_RESIDUALS residuals;
 *               k a multiple of 32
 *
 *   ACT_Q8_256  int8_t q[k], float d[k/256], int16_t sums[k/16]; k a multiple of 256
 *
 * each part padded so that the next, and the next row, is aligned to 64 bytes. sums are of 16 codes each. */
enum kernel_act kernel_act_of(enum format format);
size_t kernel_act_bytes(enum kernel_act act, size_t k);

struct kernel_matmul {
    enum format format;
    const void *weights; /* (n_rows, k), rows row_bytes apart, in the layout of the file */
    size_t row_bytes;
    size_t k;
    float scale;       /* 1: none (NVFP4's tensor scale) */
    const float *bias; /* (n_rows) or NULL */
    const void *acts;  /* n_tokens rows of kernel_act_of(format), act_stride_bytes apart, aligned to KERNEL_ALIGNMENT */
    size_t act_stride_bytes;
    size_t n_tokens;
    float *out;        /* out[t * out_stride + row] */
    size_t out_stride; /* in floats */
};

/* One KV head's cache in one layer: F16, F32 or Q8_0. Position p lies in slot p % capacity, the layout is the kernels' own
 * (cache.h). Q8_0: per 32 dimensions codes and d as for activations below, d rounded to F16. */
enum { KERNEL_KV_TILE = 256 };
struct kernel_kv {
    enum format format;
    size_t head_dim, capacity; /* capacity: a multiple of KERNEL_KV_TILE */
    void *keys, *values;       /* kernel_kv_bytes each, aligned to KERNEL_ALIGNMENT, zero at first */
};
size_t kernel_kv_bytes(enum format format, size_t head_dim, size_t capacity);

/* Attention over one KV head of the n_heads queries that share it, for each of n_tokens tokens in a row; a token sees
 * the positions up to its own, at most `window` (0: all). Bit for bit, for each query:
 *
 *   score of a position   F32, F16: one chain of fma over the dimensions, in order;
 *                         Q8_0: q in codes per 32 dimensions (d_q as for activations, not rounded), i = the exact sum of
 *                         products over 32 dimensions, acc = fma(d_k * d_q, (float)i, acc), block after block;
 *                         times `scale`; then softcap * tanh(score / softcap), where softcap is not 0
 *   part of a tile        of KERNEL_KV_TILE positions at absolute multiples of it: top = the largest score seen,
 *                         p = exp(score - top); sum of p in sixteen lanes (position mod 16), in order, then
 *                         added as the lanes above; per dimension a chain of fma(p, v) over the positions,
 *                         in order, from 0; Q8_0: fma(p * d_v, code)
 *   parts in order        from the first as it is: top' = the larger top, a = exp(top - top'), b = exp(top_part - top'),
 *                         sum = fma(sum_part, b, sum * a), each dimension likewise; at last dimension / sum */
struct kernel_attention {
    struct kernel_kv kv;
    const float *q; /* of head h of token t: q + t * stride + h * head_dim */
    float *out;     /* likewise */
    size_t stride;
    size_t n_tokens, n_heads;
    size_t position; /* of the first token */
    size_t window;
    float scale, softcap;
};
/* Floats of one query's part; kernels like about this many queries (n_tokens * n_heads) in a job of many tokens. */
size_t kernel_part_floats(enum format format, size_t head_dim);
enum { KERNEL_ATTENTION_QUERIES = 48 };

enum kernel_glu { GLU_SILU, GLU_GELU /* tanh form */ };

struct kernel_table {
    const char *isa;
    /* x (k) -> one activation row. */
    void (*quantize)(enum kernel_act act, const float *x, size_t k, void *row);
    /* Rows [row_begin, row_end) for all tokens. scratch: kernel_scratch_bytes. */
    void (*matmul)(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch);
    void (*kv_store)(const struct kernel_kv *kv, size_t position, const float *key, const float *value);
    /* All of it. scratch: kernel_attention_scratch_bytes. */
    void (*attention)(const struct kernel_attention *job, void *scratch);
    /* The same in shares: the parts of one tile that every query sees something of, (queries, kernel_part_floats); then
     * all queries' parts of all n_tiles such tiles together, tile after tile (the first are changed). */
    void (*attention_part)(const struct kernel_attention *job, size_t tile, float *parts, void *scratch);
    void (*attention_join)(const struct kernel_attention *job, float *parts, size_t n_tiles);
    /* out = x / sqrt(mean(x^2) + eps) * w. Sum of squares in eight lanes, added as those above. out may be x. */
    void (*rms_norm)(const float *x, const float *w, size_t n, float eps, float *out);
    /* Rotates the first n_rot of x by angles given as cos, sin (n_rot/2 each). neox: pairs (i, i + n_rot/2), else (2i,
     * 2i+1). */
    void (*rope)(float *x, size_t n_rot, const float *cos, const float *sin, bool neox);
    /* out = act(gate) * up. out may be either. */
    void (*glu)(enum kernel_glu kind, const float *gate, const float *up, size_t n, float *out);
    void (*add)(float *x, const float *y, size_t n); /* x += y */
    void (*scale)(float *x, float factor, size_t n); /* x *= factor */
    void (*softcap)(float *x, float cap, size_t n);  /* x = cap * tanh(x / cap) */
    /* x = e^(x - largest x) / sum of these. Sum in the eight lanes above. n >= 1. */
    void (*softmax)(float *x, size_t n);
};

/* Scratch that matmul needs for this k, and attention for this head_dim, in bytes. */
size_t kernel_scratch_bytes(size_t k);
size_t kernel_attention_scratch_bytes(size_t head_dim);

/* The best table for this processor, or the named one ("scalar", "avx2", "avx512", "neon"); NULL if this processor or
 * build has no such table. */
const struct kernel_table *kernel_select(const char *isa);
/* Names of the tables this processor can run, best first; NULL-terminated. */
const char *const *kernel_names(void);

#endif
