/* attention_scalar.inc.h - attention as kernel.h words it, one query and one position after the other; part of scalar.c.
 * Every other table does the same in an order that keeps its registers full (attention.inc.h).
 */
#include "kernel/cache.h"

static float cache_number(const struct kernel_kv *kv, const void *side, size_t at)
{
    if (kv->format == FORMAT_F32) return ((const float *)side)[at];
    if (kv->format == FORMAT_F16) return f32_from_f16(((const uint16_t *)side)[at]);
    return ((const int8_t *)side)[at];
}

static float attention_score_q8(const struct kernel_attention *job, const float *q, size_t slot)
{
    const struct kernel_kv *kv = &job->kv;
    size_t width = cache_width(kv->format, kv->head_dim);
    float acc = 0.0f;
    for (size_t b = 0; b < width / 32; b++) {
        float chunk[32] = {0};
        int8_t codes[32];
        int16_t sums[2];
        int sum = 0;
        for (size_t d = 0; d < 32 && 32 * b + d < kv->head_dim; d++)
            chunk[d] = q[32 * b + d];
        float d_q = quantize_block(chunk, 32, codes, sums);
        for (size_t d = 0; d < 32; d++)
            sum += codes[d] * ((const int8_t *)kv->keys)[cache_key_at(kv->format, width, slot, 32 * b + d)];
        float d_k = f32_from_f16(cache_scales(kv, kv->keys)[cache_scale_at(width, slot, b)]);
        acc = fmaf(d_k * d_q, (float)sum, acc);
    }
    return acc;
}

static float attention_score(const struct kernel_attention *job, const float *q, size_t slot)
{
    const struct kernel_kv *kv = &job->kv;
    size_t width = cache_width(kv->format, kv->head_dim);
    float acc = 0.0f;
    if (kv->format == FORMAT_Q8_0)
        acc = attention_score_q8(job, q, slot);
    else
        for (size_t d = 0; d < kv->head_dim; d++)
            acc = fmaf(q[d], cache_number(kv, kv->keys, cache_key_at(kv->format, width, slot, d)), acc);
    acc *= job->scale;
    if (job->softcap == 0.0f) return acc;
    float capped[8];
    f32x8_store(capped, ops_cap(f32x8_set1(acc), f32x8_set1(job->softcap)));
    return capped[0];
}

static float attention_exp(float x)
{
    float e[8];
    f32x8_store(e, f32v_exp(f32x8_set1(x)));
    return e[0];
}

/* The part of the positions [begin, end) of one tile. */
static void attention_query_part(const struct kernel_attention *job, const float *q, size_t begin, size_t end,
                                 float *part)
{
    const struct kernel_kv *kv = &job->kv;
    size_t width = cache_width(kv->format, kv->head_dim);
    float p[KERNEL_KV_TILE], sums[16] = {0}, top = -INFINITY;
    for (size_t i = begin; i < end; i++) {
        p[i - begin] = attention_score(job, q, i % kv->capacity);
        if (p[i - begin] > top) top = p[i - begin];
    }
    for (size_t i = begin; i < end; i++) {
        p[i - begin] = attention_exp(p[i - begin] - top);
        sums[i % 16] += p[i - begin];
    }
    part[PART_TOP] = top;
    part[PART_SUM] = f32x8_sum(f32x8_add(f32x8_load(sums), f32x8_load(sums + 8)));
    for (size_t d = 0; d < width; d++) {
        float o = 0.0f;
        for (size_t i = begin; i < end; i++) {
            size_t slot = i % kv->capacity;
            float weight = p[i - begin];
            if (kv->format == FORMAT_Q8_0)
                weight *= f32_from_f16(cache_scales(kv, kv->values)[cache_scale_at(width, slot, d / 32)]);
            o = fmaf(weight, cache_number(kv, kv->values, cache_value_at(width, slot, d)), o);
        }
        part[PART_VALUES + d] = o;
    }
}

static void attention_add_part(float *state, const float *part, size_t width)
{
    float top = part[PART_TOP] > state[PART_TOP] ? part[PART_TOP] : state[PART_TOP];
    float a = attention_exp(state[PART_TOP] - top), b = attention_exp(part[PART_TOP] - top);
    state[PART_TOP] = top;
    state[PART_SUM] = fmaf(part[PART_SUM], b, state[PART_SUM] * a);
    for (size_t d = PART_VALUES; d < PART_VALUES + width; d++)
        state[d] = fmaf(part[d], b, state[d] * a);
}

static const float *attention_q(const struct kernel_attention *job, size_t row)
{
    return job->q + row / job->n_heads * job->stride + row % job->n_heads * job->kv.head_dim;
}

static void attention_finish(const struct kernel_attention *job, size_t row, const float *state)
{
    float *out = job->out + row / job->n_heads * job->stride + row % job->n_heads * job->kv.head_dim;
    for (size_t d = 0; d < job->kv.head_dim; d++)
        out[d] = state[PART_VALUES + d] / state[PART_SUM];
}

static void attention_part(const struct kernel_attention *job, size_t tile, float *parts, void *scratch)
{
    size_t part_floats = kernel_part_floats(job->kv.format, job->kv.head_dim), begin, end;
    (void)scratch;
    for (size_t row = 0; row < job->n_tokens * job->n_heads; row++) {
        cache_visible(job, row, &begin, &end);
        cache_clip(tile, &begin, &end);
        attention_query_part(job, attention_q(job, row), begin, end, parts + row * part_floats);
    }
}

static void attention_join(const struct kernel_attention *job, float *parts, size_t n_tiles)
{
    size_t width = cache_width(job->kv.format, job->kv.head_dim), part_floats = PART_VALUES + width;
    size_t n_rows = job->n_tokens * job->n_heads;
    for (size_t row = 0; row < n_rows; row++) {
        float *state = parts + row * part_floats;
        for (size_t i = 1; i < n_tiles; i++)
            attention_add_part(state, parts + (i * n_rows + row) * part_floats, width);
        attention_finish(job, row, state);
    }
}

static void attention(const struct kernel_attention *job, void *scratch)
{
    size_t width = cache_width(job->kv.format, job->kv.head_dim), part_floats = PART_VALUES + width, begin, end;
    float *state = scratch, *part = state + part_floats;
    for (size_t row = 0; row < job->n_tokens * job->n_heads; row++) {
        cache_visible(job, row, &begin, &end);
        for (size_t at = begin; at < end;) {
            size_t tile_begin = at, tile_end = end;
            cache_clip(at / KERNEL_KV_TILE, &tile_begin, &tile_end);
            attention_query_part(job, attention_q(job, row), tile_begin, tile_end, at == begin ? state : part);
            if (at != begin) attention_add_part(state, part, width);
            at = tile_end;
        }
        attention_finish(job, row, state);
    }
}
