/* tiny_model.h - opens the tiny model of gguf_write.h, changed as a test wants it, through a file that is gone at once.
 */
#ifndef STILE_TESTS_TINY_MODEL_H
#define STILE_TESTS_TINY_MODEL_H

#include "gguf_write.h"
#include "stile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int tiny_open(struct stile_model **model, void (*change)(struct gguf_write *file),
                            struct stile_error *error)
{
    char path[] = "/tmp/stile-test-XXXXXX";
    struct gguf_write file;
    struct buffer bytes = {0};
    gguf_write_init(&file);
    gguf_write_tiny_model(&file);
    if (change) change(&file);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes.data, bytes.n) != (ssize_t)bytes.n) abort();
    close(fd);
    buffer_free(&bytes);
    int failed = stile_model_open(model, path, error);
    unlink(path);
    return failed;
}

/* The same as a Gemma 3 of two layers: the first slides, the second sees everything. */
enum { TINY_WINDOW = 8 };
static inline void tiny_gemma3(struct gguf_write *file)
{
    static const char *const names[] = {"attn_norm.weight", "attn_q.weight",      "attn_k.weight",
                                        "attn_v.weight",    "attn_output.weight", "ffn_norm.weight",
                                        "ffn_gate.weight",  "ffn_up.weight",      "ffn_down.weight"};
    char name[64];
    gguf_write_string(file, "general.architecture", "gemma3");
    for (size_t i = 0, n = file->n_kv; i < n; i++) {
        struct gguf_write_kv *kv = &file->kv[i];
        if (strncmp(kv->key, "llama.", 6) != 0) continue;
        char key[96];
        snprintf(key, sizeof key, "gemma3.%s", kv->key + 6);
        free(kv->key);
        kv->key = strdup(key);
        kv->n_key = strlen(key);
    }
    gguf_write_u32(file, "gemma3.block_count", 2);
    gguf_write_u32(file, "gemma3.attention.key_length", TINY_HEAD);
    gguf_write_u32(file, "gemma3.attention.value_length", TINY_HEAD);
    gguf_write_u32(file, "gemma3.attention.sliding_window", TINY_WINDOW);
    gguf_write_u32(file, "gemma3.attention.sliding_window_pattern", 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "blk.0.%s", names[i]);
        struct gguf_write_tensor *tensor = gguf_write_get_tensor(file, name);
        uint64_t dims[4] = {tensor->dims[0], tensor->dims[1], 1, 1};
        uint32_t n_dims = tensor->n_dims;
        snprintf(name, sizeof name, "blk.1.%s", names[i]);
        gguf_write_floats(file, name, n_dims, dims, n_dims == 1 ? 1.0f : 0.0f, 0.2f);
    }
    for (int layer = 0; layer < 2; layer++) {
        static const struct {
            const char *name;
            uint64_t width;
        } norms[] = {{"attn_q_norm", TINY_HEAD},
                     {"attn_k_norm", TINY_HEAD},
                     {"post_attention_norm", TINY_WIDTH},
                     {"post_ffw_norm", TINY_WIDTH}};
        for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, norms[i].name);
            gguf_write_floats(file, name, 1, &norms[i].width, 1.0f, 0.2f);
        }
    }
}

#endif
