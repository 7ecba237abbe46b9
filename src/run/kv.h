/* kv.h - the KV cache of a session: per layer, keys and values of the positions that later tokens may see.
 *
 * A layer that sees everything has room for the whole context. A sliding layer's cache is a ring: it keeps the last
 * window + n_batch positions, so that a batch can be written while its first token still sees a whole window.
 * Memory is reserved at once and touched as the context grows.
 */
#ifndef STILE_RUN_KV_H
#define STILE_RUN_KV_H

#include "backend/cpu.h"

struct kv {
    struct cpu_kv *layers; /* (n_layers) */
    void *memory;
    size_t memory_bytes;
};

/* Bytes of the cache for n_ctx positions. */
uint64_t kv_size_bytes(const struct hparams *hparams, uint32_t n_ctx, uint32_t n_batch, enum format format);
int kv_create(struct kv *kv, const struct hparams *hparams, uint32_t n_ctx, uint32_t n_batch, enum format format,
              struct stile_error *error);
/* Takes all of its memory from the system now, so that it cannot be missing later. */
void kv_touch(struct kv *kv);
void kv_free(struct kv *kv);
/* May a context that has written n_written positions be cut back to n_kept? Not when a ring has already overwritten
 * what the next token would see. */
bool kv_can_rewind(const struct kv *kv, const struct hparams *hparams, uint32_t n_written, uint32_t n_kept);

#endif
