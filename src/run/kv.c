#include "run/kv.h"

#include "base/checked.h"
#include "base/touch.h"

#include <stdlib.h>
#include <sys/mman.h>

static uint64_t layer_capacity(const struct hparams *h, uint32_t layer, uint32_t n_ctx, uint32_t n_batch)
{
    uint64_t positions = n_ctx;
    if (hparams_layer_slides(h, layer) && (uint64_t)h->window + n_batch < n_ctx)
        positions = (uint64_t)h->window + n_batch;
    return (positions + KERNEL_KV_TILE - 1) / KERNEL_KV_TILE * KERNEL_KV_TILE;
}

/* Bytes of one layer's keys (or values), a multiple of the kernels' alignment. */
static uint64_t side_bytes(const struct hparams *h, uint64_t capacity, enum format format)
{
    return h->n_kv_heads * kernel_kv_bytes(format, h->head_dim, capacity);
}

uint64_t kv_size_bytes(const struct hparams *hparams, uint32_t n_ctx, uint32_t n_batch, enum format format)
{
    uint64_t total = 0;
    for (uint32_t layer = 0; layer < hparams->n_layers; layer++)
        total += 2 * side_bytes(hparams, layer_capacity(hparams, layer, n_ctx, n_batch), format);
    return total;
}

int kv_create(struct kv *kv, const struct hparams *hparams, uint32_t n_ctx, uint32_t n_batch, enum format format,
              struct stile_error *error)
{
    struct kv k = {.memory_bytes = kv_size_bytes(hparams, n_ctx, n_batch, format)};
    k.layers = calloc(hparams->n_layers, sizeof *k.layers);
    if (!k.layers) return error_memory(error, hparams->n_layers * sizeof *k.layers, "the KV cache");
    /* zero pages on demand: a long context costs memory only as far as it is used */
    k.memory = mmap(NULL, k.memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (k.memory == MAP_FAILED) {
        free(k.layers);
        return error_memory(error, k.memory_bytes, "the KV cache (ask for a smaller context)");
    }
    char *at = k.memory;
    for (uint32_t layer = 0; layer < hparams->n_layers; layer++) {
        uint64_t capacity = layer_capacity(hparams, layer, n_ctx, n_batch),
                 bytes = side_bytes(hparams, capacity, format);
        k.layers[layer] = (struct cpu_kv){.keys = at, .values = at + bytes, .capacity = capacity};
        at += 2 * bytes;
    }
    *kv = k;
    return 0;
}

void kv_touch(struct kv *kv)
{
    memory_touch(kv->memory, kv->memory_bytes);
}

void kv_free(struct kv *kv)
{
    if (kv->layers) munmap(kv->memory, kv->memory_bytes);
    free(kv->layers);
    *kv = (struct kv){0};
}

bool kv_can_rewind(const struct kv *kv, const struct hparams *hparams, uint32_t n_written, uint32_t n_kept)
{
    for (uint32_t layer = 0; layer < hparams->n_layers && n_kept > 0; layer++) {
        if (!hparams_layer_slides(hparams, layer)) continue;
        /* the next token, at n_kept, sees back to n_kept - window + 1; a slot is lost once capacity more were written
         */
        uint64_t oldest_seen = n_kept >= hparams->window ? n_kept - hparams->window + 1 : 0;
        if (n_written > oldest_seen + kv->layers[layer].capacity) return false;
    }
    return true;
}
