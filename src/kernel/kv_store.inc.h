/* kv_store.inc.h - writes one position's key and value to a cache (cache.h), for any instruction set.
 *
 * Included after an f32x8_*.h and quantize.inc.h. Defines kv_store.
 */
#include "kernel/cache.h"

enum { KV_CHUNK = 32 }; /* dimensions taken at once; those of a scale */

/* The chunk from dimension `begin` on as the cache's elements (zeros past head_dim); a scale where there is one. */
static uint16_t kv_encode(enum format format, const float *x, size_t n, void *elements)
{
    float chunk[KV_CHUNK] = {0};
    memcpy(chunk, x, n * sizeof *x);
    if (format == FORMAT_F32) {
        memcpy(elements, chunk, sizeof chunk);
    } else if (format == FORMAT_F16) {
        for (size_t i = 0; i < KV_CHUNK; i += 8)
            f32x8_store_f16((uint16_t *)elements + i, f32x8_load(chunk + i));
    } else {
        int16_t sums[KV_CHUNK / 16];
        return f16_from_f32(quantize_block(chunk, KV_CHUNK, elements, sums));
    }
    return 0;
}

/* Elements of a key to their places: 4 bytes to Q8_0, else one element. */
static void kv_scatter(const struct kernel_kv *kv, size_t width, size_t slot, size_t begin, size_t n,
                       const void *elements)
{
    size_t i = cache_key_at(kv->format, width, slot, begin);
    if (kv->format == FORMAT_F32)
        for (size_t d = 0; d < n; d++)
            ((float *)kv->keys)[i + d * KERNEL_KV_GROUP] = ((const float *)elements)[d];
    else if (kv->format == FORMAT_F16)
        for (size_t d = 0; d < n; d++)
            ((uint16_t *)kv->keys)[i + d * KERNEL_KV_GROUP] = ((const uint16_t *)elements)[d];
    else
        for (size_t d = 0; d < n; d += 4)
            memcpy((int8_t *)kv->keys + i + d * KERNEL_KV_GROUP, (const int8_t *)elements + d, 4);
}

static void kv_store(const struct kernel_kv *kv, size_t position, const float *key, const float *value)
{
    size_t width = cache_width(kv->format, kv->head_dim), slot = position % kv->capacity;
    size_t element_bytes = cache_element_bytes(kv->format);
    for (size_t begin = 0; begin < width; begin += KV_CHUNK) {
        size_t left = begin < kv->head_dim ? kv->head_dim - begin : 0, n = left < KV_CHUNK ? left : KV_CHUNK;
        size_t n_padded = width - begin < KV_CHUNK ? width - begin : KV_CHUNK;
        _Alignas(64) char elements[KV_CHUNK * sizeof(float)];
        uint16_t scale = kv_encode(kv->format, key + begin, n, elements);
        size_t at = cache_scale_at(width, slot, begin / KV_CHUNK);
        kv_scatter(kv, width, slot, begin, n_padded, elements);
        if (kv->format == FORMAT_Q8_0) cache_scales(kv, kv->keys)[at] = scale;
        scale = kv_encode(kv->format, value + begin, n, elements);
        memcpy((char *)kv->values + cache_value_at(width, slot, begin) * element_bytes, elements,
               n_padded * element_bytes);
        if (kv->format == FORMAT_Q8_0) cache_scales(kv, kv->values)[at] = scale;
    }
}
