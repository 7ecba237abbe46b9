#include "gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *items, size_t n, size_t item_bytes)
{
    void *grown = realloc(items, n * item_bytes);
    if (!grown) abort();
    return grown;
}

void gguf_write_init(struct gguf_write *file)
{
    *file = (struct gguf_write){.version = 3, .alignment = 32, .pad_last = true};
}

static void kv_free(struct gguf_write_kv *kv)
{
    free(kv->key);
    buffer_free(&kv->value);
}

static void tensor_free(struct gguf_write_tensor *tensor)
{
    free(tensor->name);
    buffer_free(&tensor->data);
}

void gguf_write_free(struct gguf_write *file)
{
    for (size_t i = 0; i < file->n_kv; i++)
        kv_free(&file->kv[i]);
    for (size_t i = 0; i < file->n_tensors; i++)
        tensor_free(&file->tensors[i]);
    free(file->kv);
    free(file->tensors);
    *file = (struct gguf_write){0};
}

void gguf_put_u32(struct buffer *out, uint32_t value)
{
    buffer_add(out, &value, sizeof value);
}

void gguf_put_u64(struct buffer *out, uint64_t value)
{
    buffer_add(out, &value, sizeof value);
}

void gguf_put_f32(struct buffer *out, float value)
{
    buffer_add(out, &value, sizeof value);
}

void gguf_put_string(struct buffer *out, const char *bytes, size_t n)
{
    gguf_put_u64(out, n);
    buffer_add(out, bytes, n);
}

void gguf_patch_u32(struct buffer *out, size_t at, uint32_t value)
{
    memcpy(out->data + at, &value, sizeof value);
}

void gguf_patch_u64(struct buffer *out, size_t at, uint64_t value)
{
    memcpy(out->data + at, &value, sizeof value);
}

static void put_zeros(struct buffer *out, size_t n)
{
    static const char zeros[256];
    for (size_t i; n > 0; n -= i) {
        i = n < sizeof zeros ? n : sizeof zeros;
        buffer_add(out, zeros, i);
    }
}

static size_t align_up(size_t n, size_t alignment)
{
    return alignment == 0 ? n : (n + alignment - 1) / alignment * alignment;
}

static void put_records(struct gguf_write *file, struct buffer *out)
{
    for (size_t i = 0; i < file->n_kv; i++) {
        struct gguf_write_kv *kv = &file->kv[i];
        kv->at = out->n;
        gguf_put_string(out, kv->key, kv->n_key);
        gguf_put_u32(out, kv->type);
        buffer_add(out, kv->value.data ? kv->value.data : "", kv->value.n);
    }
    for (size_t i = 0; i < file->n_tensors; i++) {
        struct gguf_write_tensor *tensor = &file->tensors[i];
        tensor->at = out->n;
        gguf_put_string(out, tensor->name, tensor->n_name);
        gguf_put_u32(out, tensor->n_dims);
        for (uint32_t d = 0; d < tensor->n_dims; d++)
            gguf_put_u64(out, tensor->dims[d]);
        gguf_put_u32(out, tensor->format);
        gguf_put_u64(out, tensor->offset);
    }
}

void gguf_write_finish(struct gguf_write *file, struct buffer *out)
{
    size_t offset = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        struct gguf_write_tensor *tensor = &file->tensors[i];
        if (!tensor->offset_fixed) tensor->offset = offset;
        offset = align_up(offset + tensor->data.n, file->alignment);
    }
    buffer_string(out, "GGUF");
    gguf_put_u32(out, file->version);
    gguf_put_u64(out, file->n_tensors);
    gguf_put_u64(out, file->n_kv);
    put_records(file, out);
    if (file->n_tensors == 0) return;
    file->data_at = align_up(out->n, file->alignment);
    for (size_t i = 0; i < file->n_tensors; i++) {
        if (file->tensors[i].data.n == 0) continue;
        put_zeros(out, align_up(out->n, file->alignment) - out->n);
        buffer_add(out, file->tensors[i].data.data, file->tensors[i].data.n);
    }
    if (file->pad_last) put_zeros(out, align_up(out->n, file->alignment) - out->n);
    if (out->failed) abort();
}

struct gguf_write_kv *gguf_write_key(struct gguf_write *file, const char *key, uint32_t type)
{
    struct gguf_write_kv *kv = NULL;
    for (size_t i = 0; i < file->n_kv && !kv; i++)
        if (strcmp(file->kv[i].key, key) == 0) kv = &file->kv[i];
    if (!kv) {
        file->kv = grow(file->kv, file->n_kv + 1, sizeof *file->kv);
        kv = &file->kv[file->n_kv++];
        *kv = (struct gguf_write_kv){.key = strdup(key), .n_key = strlen(key)};
    }
    kv->type = type;
    buffer_free(&kv->value);
    return kv;
}

void gguf_write_u32(struct gguf_write *file, const char *key, uint32_t value)
{
    gguf_put_u32(&gguf_write_key(file, key, GGUF_U32)->value, value);
}

void gguf_write_i32(struct gguf_write *file, const char *key, int32_t value)
{
    gguf_put_u32(&gguf_write_key(file, key, GGUF_I32)->value, (uint32_t)value);
}

void gguf_write_u64(struct gguf_write *file, const char *key, uint64_t value)
{
    gguf_put_u64(&gguf_write_key(file, key, GGUF_U64)->value, value);
}

void gguf_write_f32(struct gguf_write *file, const char *key, float value)
{
    gguf_put_f32(&gguf_write_key(file, key, GGUF_F32)->value, value);
}

void gguf_write_bool(struct gguf_write *file, const char *key, bool value)
{
    buffer_char(&gguf_write_key(file, key, GGUF_BOOL)->value, value);
}

void gguf_write_string(struct gguf_write *file, const char *key, const char *value)
{
    gguf_put_string(&gguf_write_key(file, key, GGUF_STRING)->value, value, strlen(value));
}

struct gguf_write_kv *gguf_write_array(struct gguf_write *file, const char *key, uint32_t element, uint64_t n)
{
    struct gguf_write_kv *kv = gguf_write_key(file, key, GGUF_ARRAY);
    gguf_put_u32(&kv->value, element);
    gguf_put_u64(&kv->value, n);
    return kv;
}

void gguf_write_drop_key(struct gguf_write *file, const char *key)
{
    for (size_t i = 0; i < file->n_kv; i++) {
        if (strcmp(file->kv[i].key, key) != 0) continue;
        kv_free(&file->kv[i]);
        memmove(&file->kv[i], &file->kv[i + 1], (file->n_kv - i - 1) * sizeof *file->kv);
        file->n_kv--;
        return;
    }
    fprintf(stderr, "no key %s to drop\n", key);
    abort();
}

static struct gguf_write_tensor *find_tensor(struct gguf_write *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

struct gguf_write_tensor *gguf_write_get_tensor(struct gguf_write *file, const char *name)
{
    struct gguf_write_tensor *tensor = find_tensor(file, name);
    if (tensor) return tensor;
    fprintf(stderr, "no tensor %s\n", name);
    abort();
}

struct gguf_write_tensor *gguf_write_tensor(struct gguf_write *file, const char *name, uint32_t format, uint32_t n_dims,
                                            const uint64_t *dims)
{
    struct gguf_write_tensor *tensor = find_tensor(file, name);
    const struct format_info *info = format_info(format);
    uint64_t n = 1;
    if (!tensor) {
        file->tensors = grow(file->tensors, file->n_tensors + 1, sizeof *file->tensors);
        tensor = &file->tensors[file->n_tensors++];
        *tensor = (struct gguf_write_tensor){.name = strdup(name), .n_name = strlen(name)};
    }
    tensor->format = format;
    tensor->n_dims = n_dims;
    for (uint32_t d = 0; d < n_dims; d++) {
        tensor->dims[d] = dims[d];
        n *= dims[d];
    }
    buffer_free(&tensor->data);
    if (info) put_zeros(&tensor->data, n / info->block_elements * info->block_bytes);
    return tensor;
}

void gguf_write_floats(struct gguf_write *file, const char *name, uint32_t n_dims, const uint64_t *dims, float centre,
                       float spread)
{
    struct gguf_write_tensor *tensor = gguf_write_tensor(file, name, FORMAT_F32, n_dims, dims);
    uint64_t state = 88172645463325252u;
    for (const char *c = name; *c; c++)
        state = state * 31 + (unsigned char)*c;
    for (size_t at = 0; at + 4 <= tensor->data.n; at += 4) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float unit = (float)(state >> 40) * 0x1p-23f - 1; /* -1 .. 1 */
        float value = centre + spread * unit;
        memcpy(tensor->data.data + at, &value, sizeof value);
    }
}

void gguf_write_drop_tensor(struct gguf_write *file, const char *name)
{
    struct gguf_write_tensor *tensor = gguf_write_get_tensor(file, name);
    tensor_free(tensor);
    size_t after = (size_t)(&file->tensors[file->n_tensors] - tensor) - 1;
    memmove(tensor, tensor + 1, after * sizeof *tensor);
    file->n_tensors--;
}

/* ---- the tiny model ---------------------------------------------------------------------------- */

/* U+0120 is how a byte-level vocabulary spells a space. */
#define SP "\xc4\xa0"

void tiny_vocab(struct tiny_vocab *vocab)
{
    static const char *const merges[TINY_MERGES] = {
        "h e",
        "i n",
        "e r",
        "o n",
        "r e",
        "l l",
        SP " t",
        SP " a",
        SP "t he",
        SP " s",
        SP " w",
        "o u",
        "i s",
        "a t",
        "e n",
        "o r",
        SP " b",
        "in g",
        SP " m",
        SP " o",
        "e s",
        "i t",
        "a n",
        SP " c",
        "he ll",
        "hell o",
        SP "w or",
        SP "wor l",
        SP "worl d",
        "e d",
        SP " h",
        SP "h e",
        SP "a n",
        SP "an d",
        "0 0",
        "00 00",
        "- -",
        "-- --",
        SP " f",
        SP "f or",
        "\xc4\x8a \xc4\x8a",
    };
    static char bytes[256][3], joined[TINY_MERGES][24];
    static const char *const specials[3] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    unsigned next = 256;
    for (unsigned b = 0; b < 256; b++) {
        bool same = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        unsigned c = same ? b : next++;
        if (c < 0x80)
            snprintf(bytes[b], sizeof bytes[b], "%c", (int)c);
        else
            snprintf(bytes[b], sizeof bytes[b], "%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 63)));
        vocab->texts[b] = bytes[b];
    }
    for (size_t i = 0; i < TINY_MERGES; i++) {
        const char *space = strchr(merges[i], ' ');
        snprintf(joined[i], sizeof joined[i], "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        vocab->merges[i] = merges[i];
        vocab->texts[256 + i] = joined[i];
    }
    for (size_t i = 0; i < 3; i++)
        vocab->texts[256 + TINY_MERGES + i] = specials[i];
    for (size_t i = 0; i < TINY_VOCAB; i++)
        vocab->types[i] = i < 256 + TINY_MERGES ? 1 : 3;
}

void gguf_write_vocab(struct gguf_write *file, const struct tiny_vocab *vocab)
{
    struct gguf_write_kv *kv = gguf_write_array(file, "tokenizer.ggml.tokens", GGUF_STRING, TINY_VOCAB);
    for (size_t i = 0; i < TINY_VOCAB; i++)
        gguf_put_string(&kv->value, vocab->texts[i], strlen(vocab->texts[i]));
    kv = gguf_write_array(file, "tokenizer.ggml.token_type", GGUF_I32, TINY_VOCAB);
    for (size_t i = 0; i < TINY_VOCAB; i++)
        gguf_put_u32(&kv->value, (uint32_t)vocab->types[i]);
    kv = gguf_write_array(file, "tokenizer.ggml.merges", GGUF_STRING, TINY_MERGES);
    for (size_t i = 0; i < TINY_MERGES; i++)
        gguf_put_string(&kv->value, vocab->merges[i], strlen(vocab->merges[i]));
}

static void tiny_keys(struct gguf_write *file)
{
    struct tiny_vocab vocab;
    gguf_write_string(file, "general.architecture", "llama");
    gguf_write_string(file, "general.name", "Tiny");
    gguf_write_u32(file, "llama.block_count", 1);
    gguf_write_u32(file, "llama.context_length", 128);
    gguf_write_u32(file, "llama.embedding_length", TINY_WIDTH);
    gguf_write_u32(file, "llama.feed_forward_length", TINY_WIDTH);
    gguf_write_u32(file, "llama.attention.head_count", 2);
    gguf_write_u32(file, "llama.attention.head_count_kv", 1);
    gguf_write_f32(file, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_write_u32(file, "llama.rope.dimension_count", TINY_HEAD);
    gguf_write_f32(file, "llama.rope.freq_base", 10000);
    gguf_write_u32(file, "llama.vocab_size", TINY_VOCAB);
    gguf_write_string(file, "tokenizer.ggml.model", "gpt2");
    gguf_write_string(file, "tokenizer.ggml.pre", "gpt-2");
    tiny_vocab(&vocab);
    gguf_write_vocab(file, &vocab);
    gguf_write_u32(file, "tokenizer.ggml.bos_token_id", TINY_VOCAB - 3);
    gguf_write_u32(file, "tokenizer.ggml.eos_token_id", TINY_VOCAB - 1);
    gguf_write_bool(file, "tokenizer.ggml.add_bos_token", false);
    gguf_write_string(file, "tokenizer.chat_template",
                      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
                      "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' "
                      "}}{% endif %}");
}

void gguf_write_tiny_model(struct gguf_write *file)
{
    static const uint64_t width[] = {TINY_WIDTH}, square[] = {TINY_WIDTH, TINY_WIDTH},
                          vocab[] = {TINY_WIDTH, TINY_VOCAB}, kv[] = {TINY_WIDTH, TINY_HEAD};
    gguf_write_init(file);
    tiny_keys(file);
    gguf_write_floats(file, "token_embd.weight", 2, vocab, 0, 0.5f);
    gguf_write_floats(file, "output_norm.weight", 1, width, 1, 0.1f);
    gguf_write_floats(file, "blk.0.attn_norm.weight", 1, width, 1, 0.1f);
    gguf_write_floats(file, "blk.0.attn_q.weight", 2, square, 0, 0.3f);
    gguf_write_floats(file, "blk.0.attn_k.weight", 2, kv, 0, 0.3f);
    gguf_write_floats(file, "blk.0.attn_v.weight", 2, kv, 0, 0.3f);
    gguf_write_floats(file, "blk.0.attn_output.weight", 2, square, 0, 0.3f);
    gguf_write_floats(file, "blk.0.ffn_norm.weight", 1, width, 1, 0.1f);
    gguf_write_floats(file, "blk.0.ffn_gate.weight", 2, square, 0, 0.3f);
    gguf_write_floats(file, "blk.0.ffn_up.weight", 2, square, 0, 0.3f);
    gguf_write_floats(file, "blk.0.ffn_down.weight", 2, square, 0, 0.3f);
}

void gguf_write_tiny_mixture(struct gguf_write *file)
{
    static const uint64_t router[] = {TINY_WIDTH, TINY_EXPERTS}, experts[] = {TINY_WIDTH, TINY_WIDTH, TINY_EXPERTS};
    static const char *const names[] = {"gate", "up", "down"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.0.ffn_%s.weight", names[i]);
        gguf_write_drop_tensor(file, name);
        snprintf(name, sizeof name, "blk.0.ffn_%s_exps.weight", names[i]);
        gguf_write_floats(file, name, 3, experts, 0, 0.3f);
    }
    gguf_write_floats(file, "blk.0.ffn_gate_inp.weight", 2, router, 0, 0.5f);
    gguf_write_u32(file, "llama.expert_count", TINY_EXPERTS);
    gguf_write_u32(file, "llama.expert_used_count", 2);
}
