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

/* ---- vocabulary ---------------------------------------------------------------------------------- */

/* The 256 bytes; words made of syllables, each the join of two tokens before it; three control tokens. */
enum { N_SYLLABLES = 100, N_CONTROL = 3 };
static const char *const control_texts[N_CONTROL] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

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

static void put_vocabulary(struct gguf_header *header, uint32_t n_vocab)
{
    static const int32_t normal = 1, control = 3;
    uint32_t n_words = n_vocab - 256 - N_CONTROL;
    struct word word;
    unsigned next = 0x100;
    gguf_header_array(header, "tokenizer.ggml.tokens", GGUF_STRING, n_vocab);
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelling[2];
        size_t n = spell_byte(byte, &next, spelling);
        gguf_header_bytes(header, spelling, n);
    }
    for (uint32_t i = 0; i < n_words; i++) {
        make_word(&word, i);
        gguf_header_bytes(header, word.text, word.n);
    }
    for (int i = 0; i < N_CONTROL; i++)
        gguf_header_bytes(header, control_texts[i], strlen(control_texts[i]));

    gguf_header_array(header, "tokenizer.ggml.token_type", GGUF_I32, n_vocab);
    for (uint32_t i = 0; i < n_vocab; i++)
        buffer_add(&header->keys, i < n_vocab - N_CONTROL ? &normal : &control, sizeof(int32_t));

    gguf_header_array(header, "tokenizer.ggml.merges", GGUF_STRING, n_words);
    for (uint32_t i = 0; i < n_words; i++) {
        char merge[sizeof word.text + 1];
        make_word(&word, i);
        memcpy(merge, word.text, word.n_left);
        merge[word.n_left] = ' ';
        memcpy(merge + word.n_left + 1, word.text + word.n_left, word.n - word.n_left);
        gguf_header_bytes(header, merge, word.n + 1);
    }
}

static void put_hyperparameters(struct gguf_header *header, const struct synthetic *synthetic)
{
    const struct hparams *h = &synthetic->hparams;
    gguf_header_u32(header, ".block_count", h->n_layers);
    gguf_header_u32(header, ".context_length", h->n_ctx_trained);
    gguf_header_u32(header, ".embedding_length", h->d_model);
    gguf_header_u32(header, ".feed_forward_length", h->d_ff);
    if (h->n_experts > 0) {
        gguf_header_u32(header, ".expert_count", h->n_experts);
        gguf_header_u32(header, ".expert_used_count", h->n_experts_used);
        gguf_header_u32(header, ".expert_feed_forward_length", h->d_ff_expert);
    }
    gguf_header_u32(header, ".attention.head_count", h->n_heads);
    gguf_header_u32(header, ".attention.head_count_kv", h->n_kv_heads);
    gguf_header_u32(header, ".attention.key_length", h->head_dim);
    gguf_header_u32(header, ".attention.value_length", h->head_dim);
    gguf_header_f32(header, ".attention.layer_norm_rms_epsilon", h->rms_eps);
    gguf_header_u32(header, ".rope.dimension_count", h->n_rot);
    gguf_header_f32(header, ".rope.freq_base", (float)h->rope.base);
    if (h->rope.scaling == ROPE_SCALING_LINEAR) {
        gguf_header_string(header, ".rope.scaling.type", "linear");
        gguf_header_f32(header, ".rope.scaling.factor", (float)h->rope.factor);
    }
    if (h->window > 0) {
        gguf_header_u32(header, ".attention.sliding_window", h->window);
        gguf_header_u32(header, ".attention.sliding_window_pattern", h->window_pattern);
    }
    gguf_header_u32(header, ".vocab_size", h->n_vocab);
}

void synthetic_put_keys(struct gguf_header *header, const struct synthetic *synthetic)
{
    uint32_t n_vocab = synthetic->hparams.n_vocab;
    char name[128];
    snprintf(name, sizeof name, "Synthetic %s %s", synthetic->shape.name, mix_name(synthetic->mix));
    gguf_header_string(header, "general.architecture", header->architecture);
    gguf_header_string(header, "general.type", "model");
    gguf_header_string(header, "general.name", name);
    gguf_header_string(header, "general.description",
                       "random weights, made by stile for measuring: it says nothing of sense");
    gguf_header_u32(header, "general.file_type", mix_file_type(synthetic->mix));
    gguf_header_u32(header, "general.quantization_version", 2);
    gguf_header_u32(header, "general.alignment", header->alignment);
    put_hyperparameters(header, synthetic);
    gguf_header_string(header, "tokenizer.ggml.model", "gpt2");
    gguf_header_string(header, "tokenizer.ggml.pre", synthetic->family->pre);
    put_vocabulary(header, n_vocab);
    gguf_header_u32(header, "tokenizer.ggml.bos_token_id", n_vocab - 3);
    gguf_header_u32(header, "tokenizer.ggml.eos_token_id", n_vocab - 1);
    gguf_header_bool(header, "tokenizer.ggml.add_bos_token", false);
    gguf_header_string(header, "tokenizer.chat_template", chat_template);
}
