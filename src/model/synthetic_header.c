/* synthetic_header.c - the key-values of a synthetic model: hyperparameters, vocabulary, chat template. */
#include "model/synthetic_private.h"

#include <stdio.h>
#include <string.h>

static const struct synthetic_family families[] = {
    {"llama", FAMILY_LLAMA, "llama", "llama-bpe", 500000, 1e-5f},
    {"mistral", FAMILY_LLAMA, "llama", "llama-bpe", 1000000, 1e-5f},
    {"qwen2", FAMILY_QWEN2, "qwen2", "qwen2", 1000000, 1e-6f},
    {"qwen3", FAMILY_QWEN3, "qwen3", "qwen2", 1000000, 1e-6f},
    {"qwen3moe", FAMILY_QWEN3, "qwen3moe", "qwen2", 1000000, 1e-6f},
    {"mixtral", FAMILY_LLAMA, "llama", "llama-bpe", 1000000, 1e-5f},
    {"gemma3", FAMILY_GEMMA3, "gemma3", "llama-bpe", 1000000, 1e-6f},
};

static const char chat_template[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const struct synthetic_family *synthetic_family(const char *shape_arch)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].shape_arch, shape_arch) == 0) return &families[i];
    return NULL;
}

/* ---- key-values ---------------------------------------------------------------------------------- */

/* Being written; `architecture` goes before the keys that begin with a dot. */
struct keys {
    struct buffer *out;
    const char *architecture;
    uint64_t n;
};

void synthetic_put_u32(struct buffer *out, uint32_t value)
{
    buffer_add(out, &value, sizeof value);
}

void synthetic_put_u64(struct buffer *out, uint64_t value)
{
    buffer_add(out, &value, sizeof value);
}

static void put_bytes(struct buffer *out, const char *bytes, size_t n)
{
    synthetic_put_u64(out, n);
    buffer_add(out, bytes, n);
}

void synthetic_put_string(struct buffer *out, const char *string)
{
    put_bytes(out, string, strlen(string));
}

static void put_key(struct keys *keys, const char *key, enum gguf_type type)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s", key[0] == '.' ? keys->architecture : "", key);
    synthetic_put_string(keys->out, full);
    synthetic_put_u32(keys->out, type);
    keys->n++;
}

static void put_u32(struct keys *keys, const char *key, uint32_t value)
{
    put_key(keys, key, GGUF_U32);
    synthetic_put_u32(keys->out, value);
}

static void put_f32(struct keys *keys, const char *key, float value)
{
    put_key(keys, key, GGUF_F32);
    buffer_add(keys->out, &value, sizeof value);
}

static void put_string(struct keys *keys, const char *key, const char *value)
{
    put_key(keys, key, GGUF_STRING);
    synthetic_put_string(keys->out, value);
}

static void put_array(struct keys *keys, const char *key, enum gguf_type element, uint64_t n)
{
    put_key(keys, key, GGUF_ARRAY);
    synthetic_put_u32(keys->out, element);
    synthetic_put_u64(keys->out, n);
}

/* ---- vocabulary ---------------------------------------------------------------------------------- */

/* The 256 bytes; words made of syllables, each the join of two tokens before it; three control tokens. */
enum { N_SYLLABLES = 100, N_CONTROL = 3 };
static const char *const control_texts[N_CONTROL] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
enum { CONTROL_TYPE = 3, NORMAL_TYPE = 1 };

struct word {
    char text[12];
    size_t n_left, n; /* bytes of the first part, of the whole */
};

/* Byte-level vocabularies spell bytes as characters: printable Latin-1 as itself, the others from U+0100 on. */
static size_t spell_byte(unsigned byte, unsigned *next, char spelling[2])
{
    bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    unsigned c = itself ? byte : (*next)++;
    if (c < 0x80) {
        spelling[0] = (char)c;
        return 1;
    }
    spelling[0] = (char)(0xc0 | c >> 6);
    spelling[1] = (char)(0x80 | (c & 63));
    return 2;
}

/* Word i: first all syllables, then those after a space, then words of two, of two after a space, and of three after a
 * space, a million. */
static void make_word(struct word *word, uint32_t i)
{
    static const char consonants[] = "bcdfghjklmnpqrstvwxz", vowels[] = "aeiou";
    static const struct {
        uint32_t n, n_syllables;
        bool space;
    } kinds[] = {{100, 1, false}, {100, 1, true}, {10000, 2, false}, {10000, 2, true}, {UINT32_MAX, 3, true}};
    size_t kind = 0;
    for (; i >= kinds[kind].n; kind++)
        i -= kinds[kind].n;
    word->n = 0;
    if (kinds[kind].space) { /* U+0120 stands for a space */
        word->text[word->n++] = '\xc4';
        word->text[word->n++] = '\xa0';
    }
    for (uint32_t s = 0; s < kinds[kind].n_syllables; s++, i /= N_SYLLABLES) {
        word->text[word->n++] = consonants[i % N_SYLLABLES / 5];
        word->text[word->n++] = vowels[i % 5];
    }
    /* the last syllable joins the rest; a syllable alone joins the space, or is two letters */
    word->n_left = word->n - (word->n == 2 ? 1 : 2);
}

static void put_vocabulary(struct keys *keys, uint32_t n_vocab)
{
    uint32_t n_words = n_vocab - 256 - N_CONTROL;
    struct word word;
    unsigned next = 0x100;
    put_array(keys, "tokenizer.ggml.tokens", GGUF_STRING, n_vocab);
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelling[2];
        size_t n = spell_byte(byte, &next, spelling);
        put_bytes(keys->out, spelling, n);
    }
    for (uint32_t i = 0; i < n_words; i++) {
        make_word(&word, i);
        put_bytes(keys->out, word.text, word.n);
    }
    for (int i = 0; i < N_CONTROL; i++)
        synthetic_put_string(keys->out, control_texts[i]);

    put_array(keys, "tokenizer.ggml.token_type", GGUF_I32, n_vocab);
    for (uint32_t i = 0; i < n_vocab; i++)
        synthetic_put_u32(keys->out, i < n_vocab - N_CONTROL ? NORMAL_TYPE : CONTROL_TYPE);

    put_array(keys, "tokenizer.ggml.merges", GGUF_STRING, n_words);
    for (uint32_t i = 0; i < n_words; i++) {
        char merge[sizeof word.text + 1];
        make_word(&word, i);
        memcpy(merge, word.text, word.n_left);
        merge[word.n_left] = ' ';
        memcpy(merge + word.n_left + 1, word.text + word.n_left, word.n - word.n_left);
        put_bytes(keys->out, merge, word.n + 1);
    }
}

static void put_hyperparameters(struct keys *keys, const struct synthetic *synthetic)
{
    const struct hparams *h = &synthetic->hparams;
    put_u32(keys, ".block_count", h->n_layers);
    put_u32(keys, ".context_length", h->n_ctx_trained);
    put_u32(keys, ".embedding_length", h->d_model);
    put_u32(keys, ".feed_forward_length", h->d_ff);
    if (h->n_experts > 0) {
        put_u32(keys, ".expert_count", h->n_experts);
        put_u32(keys, ".expert_used_count", h->n_experts_used);
        put_u32(keys, ".expert_feed_forward_length", h->d_ff_expert);
    }
    put_u32(keys, ".attention.head_count", h->n_heads);
    put_u32(keys, ".attention.head_count_kv", h->n_kv_heads);
    put_u32(keys, ".attention.key_length", h->head_dim);
    put_u32(keys, ".attention.value_length", h->head_dim);
    put_f32(keys, ".attention.layer_norm_rms_epsilon", h->rms_eps);
    put_u32(keys, ".rope.dimension_count", h->n_rot);
    put_f32(keys, ".rope.freq_base", (float)h->rope.base);
    if (h->rope.scaling == ROPE_SCALING_LINEAR) {
        put_string(keys, ".rope.scaling.type", "linear");
        put_f32(keys, ".rope.scaling.factor", (float)h->rope.factor);
    }
    if (h->window > 0) {
        put_u32(keys, ".attention.sliding_window", h->window);
        put_u32(keys, ".attention.sliding_window_pattern", h->window_pattern);
    }
    put_u32(keys, ".vocab_size", h->n_vocab);
}

uint64_t synthetic_put_keys(struct buffer *out, const struct synthetic *synthetic)
{
    struct keys keys = {.out = out, .architecture = synthetic->family->architecture};
    uint32_t n_vocab = synthetic->hparams.n_vocab;
    char name[128];
    snprintf(name, sizeof name, "Synthetic %s %s", synthetic->shape.name, mix_name(synthetic->mix));
    put_string(&keys, "general.architecture", keys.architecture);
    put_string(&keys, "general.type", "model");
    put_string(&keys, "general.name", name);
    put_string(&keys, "general.description", "random weights, made by stile for measuring: it says nothing of sense");
    put_u32(&keys, "general.file_type", mix_file_type(synthetic->mix));
    put_u32(&keys, "general.quantization_version", 2);
    put_u32(&keys, "general.alignment", SYNTHETIC_ALIGNMENT);
    put_hyperparameters(&keys, synthetic);
    put_string(&keys, "tokenizer.ggml.model", "gpt2");
    put_string(&keys, "tokenizer.ggml.pre", synthetic->family->pre);
    put_vocabulary(&keys, n_vocab);
    put_u32(&keys, "tokenizer.ggml.bos_token_id", n_vocab - 3);
    put_u32(&keys, "tokenizer.ggml.eos_token_id", n_vocab - 1);
    put_key(&keys, "tokenizer.ggml.add_bos_token", GGUF_BOOL);
    buffer_char(out, 0);
    put_string(&keys, "tokenizer.chat_template", chat_template);
    return keys.n;
}
