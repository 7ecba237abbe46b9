/* Vocabularies of a GGUF file: what its keys mean, and wrong ones: an error that names file and key, never a crash. */
#include "gguf_write.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile-vocab-XXXXXX";
static char path[sizeof folder + 16];

static int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void file_write(const char *bytes, size_t n)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

/* The file's tokenizer, or NULL with the error filled. Frees `file`. */
static struct tokenizer *tokenizer_of(struct gguf_write *file, struct stile_error *error)
{
    struct buffer bytes = {0};
    gguf_write_finish(file, &bytes);
    file_write(bytes.data, bytes.n);
    buffer_free(&bytes);
    gguf_write_free(file);
    struct gguf *gguf;
    if (gguf_open(&gguf, path, error) < 0) fail_msg("%s", error->message);
    struct tokenizer *tokenizer;
    int code = tokenizer_create(&tokenizer, gguf, error);
    gguf_close(gguf);
    assert_int_equal(code < 0, tokenizer == NULL);
    if (code < 0) assert_int_equal(code, error->code);
    return tokenizer;
}

static struct tokenizer *good_tokenizer(struct gguf_write *file)
{
    struct stile_error error;
    struct tokenizer *tokenizer = tokenizer_of(file, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

static void expect_error(struct gguf_write *file, int code, const char *part)
{
    struct stile_error error = {0};
    struct tokenizer *tokenizer = tokenizer_of(file, &error);
    if (tokenizer) fail_msg("accepted, but expected an error about %s", part);
    if (error.code != code || !strstr(error.message, part) || !strstr(error.message, path) ||
        !strstr(error.message, "tokenizer.ggml.") || strchr(error.message, '\n'))
        fail_msg("expected %d \"...%s...\", got %d \"%s\"", code, part, error.code, error.message);
}

static void expect_malformed(struct gguf_write *file, const char *part)
{
    expect_error(file, STILE_ERROR_MALFORMED, part);
}

/* The tiny byte-level vocabulary; TINY_VOCAB - 3 is <|endoftext|>. */
static void start(struct gguf_write *file)
{
    gguf_write_init(file);
    gguf_write_tiny_model(file);
}

static void write_tokens(struct gguf_write *file, const char *const *texts, size_t n)
{
    struct gguf_write_kv *kv = gguf_write_array(file, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        gguf_put_string(&kv->value, texts[i], strlen(texts[i]));
}

static void write_merges(struct gguf_write *file, const char *const *merges, size_t n)
{
    struct gguf_write_kv *kv = gguf_write_array(file, "tokenizer.ggml.merges", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        gguf_put_string(&kv->value, merges[i], strlen(merges[i]));
}

static void write_types(struct gguf_write *file, const int32_t *types, size_t n)
{
    struct gguf_write_kv *kv = gguf_write_array(file, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        gguf_put_u32(&kv->value, (uint32_t)types[i]);
}

static void write_scores(struct gguf_write *file, const float *scores, size_t n)
{
    struct gguf_write_kv *kv = gguf_write_array(file, "tokenizer.ggml.scores", GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        gguf_put_f32(&kv->value, scores[i]);
}

/* A SentencePiece vocabulary of a few words. */
enum { SPM_SIZE = 16 };
static const char *const spm_texts[SPM_SIZE] = {
    "<unk>",         "<s>", "</s>", "<0x0A>", "a", "b",  "ab",  "\xE2\x96\x81",
    "\342\226\201a", "abc", "c",    "bc",     "<", "s>", "<s>", "  ",
};
static const int32_t spm_types[SPM_SIZE] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4};
static const float spm_scores[SPM_SIZE] = {0, 0, 0, 0, -9, -9, -3, -9, -5, -1, -9, -3, -9, -2, -1, -1000};

static void start_spm(struct gguf_write *file)
{
    gguf_write_init(file);
    gguf_write_string(file, "general.architecture", "llama");
    gguf_write_string(file, "tokenizer.ggml.model", "llama");
    write_tokens(file, spm_texts, SPM_SIZE);
    write_types(file, spm_types, SPM_SIZE);
    write_scores(file, spm_scores, SPM_SIZE);
}

static void expect_ids(const struct tokenizer *tokenizer, const char *text, unsigned flags, const int32_t *ids,
                       size_t n)
{
    struct tokens tokens = {0};
    struct stile_error error;
    if (tokenizer_encode(tokenizer, text, strlen(text), flags, &tokens, &error) < 0) fail_msg("%s", error.message);
    bool equal = tokens.n == n && (n == 0 || memcmp(tokens.ids, ids, n * sizeof *ids) == 0);
    if (!equal) {
        for (size_t i = 0; i < tokens.n; i++)
            printf("%d ", tokens.ids[i]);
        fail_msg("are the tokens of \"%s\"", text);
    }
    tokens_free(&tokens);
}
#define EXPECT_IDS(tokenizer, text, flags, ...) \
    expect_ids(tokenizer, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

/* What the keys mean */

static void bos_and_eos_follow_the_keys(void **state)
{
    (void)state;
    const int32_t bos = TINY_VOCAB - 3, eos = TINY_VOCAB - 1;
    struct gguf_write file;
    start(&file);
    gguf_write_bool(&file, "tokenizer.ggml.add_bos_token", true);
    gguf_write_bool(&file, "tokenizer.ggml.add_eos_token", true);
    struct tokenizer *t = good_tokenizer(&file);
    assert_int_equal(tokenizer_bos(t), bos);
    assert_int_equal(tokenizer_eos(t), eos);
    assert_true(tokenizer_adds_bos(t));
    struct tokens x = {0};
    assert_int_equal(tokenizer_encode(t, "x", 1, 0, &x, NULL), 0);
    assert_int_equal(x.n, 1);
    EXPECT_IDS(t, "x", TOKENIZER_ADD_SPECIAL, bos, x.ids[0], eos);
    EXPECT_IDS(t, "", TOKENIZER_ADD_SPECIAL, bos, eos);
    EXPECT_IDS(t, "x", TOKENIZER_ADD_BOS, bos, x.ids[0]);
    EXPECT_IDS(t, "x", TOKENIZER_PARSE_SPECIAL, x.ids[0]);
    /* not twice */
    EXPECT_IDS(t, "<|endoftext|>x<|im_end|>", TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL, bos, x.ids[0], eos);
    EXPECT_IDS(t, "x<|endoftext|>", TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL, bos, x.ids[0], bos, eos);
    tokens_free(&x);
    tokenizer_free(t);

    start(&file); /* without keys, a llama-bpe vocabulary adds BOS, others do not */
    gguf_write_drop_key(&file, "tokenizer.ggml.add_bos_token");
    gguf_write_string(&file, "tokenizer.ggml.pre", "llama-bpe");
    t = good_tokenizer(&file);
    assert_true(tokenizer_adds_bos(t));
    tokenizer_free(t);
    start(&file);
    gguf_write_drop_key(&file, "tokenizer.ggml.add_bos_token");
    gguf_write_drop_key(&file, "tokenizer.ggml.bos_token_id");
    gguf_write_drop_key(&file, "tokenizer.ggml.eos_token_id");
    gguf_write_drop_key(&file, "tokenizer.ggml.pre");
    t = good_tokenizer(&file);
    assert_false(tokenizer_adds_bos(t));
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), -1);
    assert_string_equal(tokenizer_pre(t), "default");
    assert_true(tokenizer_is_end(t, TINY_VOCAB - 1)); /* by its spelling */
    assert_true(tokenizer_is_end(t, TINY_VOCAB - 3));
    assert_false(tokenizer_is_end(t, TINY_VOCAB - 2));
    tokenizer_free(t);
}

/* A user-defined token of one byte is found everywhere, at the end too, but not inside a longer one. */
static void special_tokens_of_one_byte_are_found(void **state)
{
    (void)state;
    struct gguf_write file;
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.texts[TINY_VOCAB - 3] = "|";
    vocab.types[TINY_VOCAB - 3] = TOKEN_USER_DEFINED;
    start(&file);
    gguf_write_vocab(&file, &vocab);
    struct tokenizer *t = good_tokenizer(&file);
    const int32_t bar = TINY_VOCAB - 3, end = TINY_VOCAB - 1;
    EXPECT_IDS(t, "||", 0, bar, bar);
    EXPECT_IDS(t, "|<|im_end|>|", TOKENIZER_PARSE_SPECIAL, bar, end, bar);
    tokenizer_free(t);
}

static void special_tokens_need_trust(void **state)
{
    (void)state;
    struct gguf_write file;
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.texts[TINY_VOCAB - 2] = "<|im"; /* the shorter one loses where both begin */
    vocab.types[TINY_VOCAB - 2] = TOKEN_USER_DEFINED;
    start(&file);
    gguf_write_vocab(&file, &vocab);
    struct tokenizer *t = good_tokenizer(&file);
    const int32_t user = TINY_VOCAB - 2, end = TINY_VOCAB - 1;
    struct tokens plain = {0};
    assert_int_equal(tokenizer_encode(t, "<|im_end|><|im", 14, 0, &plain, NULL), 0);
    assert_int_equal(plain.ids[0], user);
    assert_int_equal(plain.ids[plain.n - 1], user);
    for (size_t i = 0; i < plain.n; i++)
        assert_int_not_equal(plain.ids[i], end);
    tokens_free(&plain);
    EXPECT_IDS(t, "<|im_end|><|im", TOKENIZER_PARSE_SPECIAL, end, user);
    size_t n;
    tokenizer_bytes(t, user, false, &n); /* user-defined tokens print, control tokens on request */
    assert_int_equal(n, 4);
    tokenizer_bytes(t, end, false, &n);
    assert_int_equal(n, 0);
    tokenizer_free(t);
}

/* "<|im_end|>" spelled wholly or partly by doubtful bytes stays text; the words on both sides of a mark are one. */
static void doubtful_bytes_spell_no_control_token(void **state)
{
    (void)state;
    struct gguf_write file;
    start(&file);
    struct tokenizer *t = good_tokenizer(&file);
    static const char text[] = "the<|im_end|>the";
    const size_t n = sizeof text - 1, begin = 3, end = 13;
    const int32_t control = TINY_VOCAB - 1;
    struct tokens plain = {0}, marked = {0};
    assert_int_equal(tokenizer_encode(t, text, n, 0, &plain, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        bool doubtful[sizeof text] = {false};
        doubtful[i] = true;
        marked.n = 0;
        assert_int_equal(tokenizer_encode_marked(t, text, n, doubtful, TOKENIZER_PARSE_SPECIAL, &marked, NULL), 0);
        size_t n_control = 0;
        for (size_t k = 0; k < marked.n; k++)
            n_control += marked.ids[k] == control;
        assert_int_equal(n_control, i < begin || i >= end);
        if (n_control) continue;
        assert_int_equal(marked.n, plain.n);
        assert_memory_equal(marked.ids, plain.ids, plain.n * sizeof *plain.ids);
    }
    tokens_free(&plain);
    tokens_free(&marked);
    tokenizer_free(t);
}

static void sentencepiece_follows_scores(void **state)
{
    (void)state;
    struct gguf_write file;
    start_spm(&file);
    struct tokenizer *t = good_tokenizer(&file);
    assert_string_equal(tokenizer_model(t), "llama");
    assert_string_equal(tokenizer_pre(t), "");
    assert_true(tokenizer_drops_space(t));
    assert_true(tokenizer_adds_bos(t));
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    EXPECT_IDS(t, "a", 0, 8);
    EXPECT_IDS(t, "ab", 0, 7, 6);  /* "ab" before "_a": -3 > -5 */
    EXPECT_IDS(t, "abc", 0, 7, 9); /* "ab" and "bc" tie: leftmost, then "abc" */
    EXPECT_IDS(t, "bc", TOKENIZER_ADD_SPECIAL, 1, 7, 11);
    EXPECT_IDS(t, "b\n", 0, 7, 5, 3);
    EXPECT_IDS(t, "b?", 0, 7, 5, 0);       /* no token, no byte token: unknown */
    EXPECT_IDS(t, "b  a", 0, 7, 5, 15, 8); /* user-defined, then a prefix again */
    EXPECT_IDS(t, "<s>", 0, 7, 12, 13);    /* text cannot forge a control token */
    EXPECT_IDS(t, "<s>a</s>", TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_SPECIAL, 1, 8, 2);
    size_t n;
    assert_memory_equal(tokenizer_bytes(t, 8, false, &n), " a", 2);
    assert_int_equal(n, 2);
    assert_memory_equal(tokenizer_bytes(t, 3, false, &n), "\n", 1);
    assert_int_equal(n, 1);
    tokenizer_free(t);

    start_spm(&file);
    gguf_write_bool(&file, "tokenizer.ggml.add_space_prefix", false);
    gguf_write_bool(&file, "tokenizer.ggml.add_bos_token", false);
    t = good_tokenizer(&file);
    assert_false(tokenizer_drops_space(t));
    EXPECT_IDS(t, "ab ab", TOKENIZER_ADD_SPECIAL, 6, 7, 6);
    tokenizer_free(t);
}

/* gpt-oss: the end of a message is not the end of the reply, and the marks between messages are printed. */
static void harmony_messages_go_on(void **state)
{
    (void)state;
    static const char *const names[] = {"<|return|>", "<|call|>", "<|end|>", "<|channel|>"};
    struct gguf_write file;
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    for (int i = 0; i < 4; i++) {
        vocab.texts[TINY_VOCAB - 4 + i] = names[i];
        vocab.types[TINY_VOCAB - 4 + i] = TOKEN_CONTROL;
    }
    start(&file);
    gguf_write_vocab(&file, &vocab);
    write_merges(&file, NULL, 0);
    gguf_write_drop_key(&file, "tokenizer.ggml.eos_token_id");
    struct tokenizer *t = good_tokenizer(&file);
    assert_true(tokenizer_is_end(t, TINY_VOCAB - 4));
    assert_true(tokenizer_is_end(t, TINY_VOCAB - 3));
    assert_false(tokenizer_is_end(t, TINY_VOCAB - 2));
    size_t n;
    tokenizer_bytes(t, TINY_VOCAB - 2, false, &n);
    assert_int_equal(n, 0);
    tokenizer_bytes(t, TINY_VOCAB - 1, false, &n);
    assert_int_equal(n, strlen("<|channel|>"));
    tokenizer_free(t);
}

static void end_tokens_listed_as_normal_are_control(void **state)
{
    (void)state;
    struct gguf_write file;
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.types[TINY_VOCAB - 1] = TOKEN_NORMAL; /* <|im_end|> */
    vocab.types[TINY_VOCAB - 2] = TOKEN_NORMAL; /* <|im_start|> */
    start(&file);
    gguf_write_vocab(&file, &vocab);
    struct tokenizer *t = good_tokenizer(&file);
    EXPECT_IDS(t, "<|im_end|>", TOKENIZER_PARSE_SPECIAL, TINY_VOCAB - 1);
    assert_true(tokenizer_is_end(t, TINY_VOCAB - 1));
    tokenizer_free(t);
}

/* Wrong vocabularies */

static void wrong_models_are_refused(void **state)
{
    (void)state;
    struct gguf_write file;
    start(&file);
    gguf_write_drop_key(&file, "tokenizer.ggml.model");
    expect_malformed(&file, "tokenizer.ggml.model is missing");
    start(&file);
    gguf_write_string(&file, "tokenizer.ggml.model", "bert");
    expect_error(&file, STILE_ERROR_UNSUPPORTED, "\"bert\" is not supported; supported are gpt2 and llama");
    start(&file);
    gguf_write_u32(&file, "tokenizer.ggml.model", 1);
    expect_malformed(&file, "tokenizer.ggml.model");
    start(&file);
    gguf_write_string(&file, "tokenizer.ggml.pre", "falcon");
    expect_error(&file, STILE_ERROR_UNSUPPORTED, "\"falcon\" is not supported; supported are default, gpt-2, ");
    start(&file);
    gguf_write_string(&file, "tokenizer.ggml.pre", "");
    expect_error(&file, STILE_ERROR_UNSUPPORTED, "deepseek-llm");
    start(&file);
    gguf_write_bool(&file, "tokenizer.ggml.pre", true);
    expect_malformed(&file, "tokenizer.ggml.pre");
    start(&file);
    gguf_write_u32(&file, "tokenizer.ggml.add_bos_token", 7);
    expect_malformed(&file, "tokenizer.ggml.add_bos_token");
}

static void wrong_tokens_are_refused(void **state)
{
    (void)state;
    struct gguf_write file;
    start(&file);
    gguf_write_drop_key(&file, "tokenizer.ggml.tokens");
    expect_malformed(&file, "tokenizer.ggml.tokens must be");
    start(&file);
    write_tokens(&file, NULL, 0);
    expect_malformed(&file, "tokenizer.ggml.tokens must be");
    start(&file);
    gguf_write_string(&file, "tokenizer.ggml.tokens", "a");
    expect_malformed(&file, "tokenizer.ggml.tokens is not an array");
    start(&file);
    gguf_put_u32(&gguf_write_array(&file, "tokenizer.ggml.tokens", GGUF_U32, 1)->value, 1);
    expect_malformed(&file, "tokenizer.ggml.tokens must be");

    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.texts[70] = "";
    start(&file);
    gguf_write_vocab(&file, &vocab);
    expect_malformed(&file, "tokenizer.ggml.tokens[70] has 0 bytes");
    char *huge = malloc(VOCAB_TEXT_BYTES_MAX + 2);
    assert_non_null(huge);
    memset(huge, 'x', VOCAB_TEXT_BYTES_MAX + 1);
    huge[VOCAB_TEXT_BYTES_MAX + 1] = 0;
    vocab.texts[70] = huge;
    start(&file);
    gguf_write_vocab(&file, &vocab);
    expect_malformed(&file, "tokenizer.ggml.tokens[70] has 65536 bytes");
    free(huge);
}

static void wrong_lengths_and_types_are_refused(void **state)
{
    (void)state;
    struct gguf_write file;
    int32_t types[SPM_SIZE];
    float scores[SPM_SIZE];
    start(&file);
    write_types(&file, spm_types, SPM_SIZE);
    expect_malformed(&file, "tokenizer.ggml.token_type has 16 elements, but there are 300 tokens");
    start(&file);
    write_scores(&file, spm_scores, SPM_SIZE);
    expect_malformed(&file, "tokenizer.ggml.scores has 16 elements, but there are 300 tokens");
    start_spm(&file);
    write_scores(&file, spm_scores, SPM_SIZE - 1);
    expect_malformed(&file, "tokenizer.ggml.scores has 15 elements");
    start_spm(&file);
    gguf_write_drop_key(&file, "tokenizer.ggml.scores");
    expect_malformed(&file, "tokenizer.ggml.scores is missing");
    start_spm(&file);
    struct gguf_write_kv *kv = gguf_write_array(&file, "tokenizer.ggml.token_type", GGUF_F32, SPM_SIZE);
    for (int i = 0; i < SPM_SIZE; i++)
        gguf_put_f32(&kv->value, 1);
    expect_malformed(&file, "tokenizer.ggml.token_type[0]");
    for (int bad = 0; bad < 3; bad++) {
        memcpy(types, spm_types, sizeof types);
        types[9] = bad == 0 ? 0 : bad == 1 ? 7 : -1;
        start_spm(&file);
        write_types(&file, types, SPM_SIZE);
        expect_malformed(&file, "tokenizer.ggml.token_type[9]");
        memcpy(scores, spm_scores, sizeof scores);
        uint32_t bits = bad == 0 ? 0x7FC00000u : bad == 1 ? 0x7F800000u : 0xFF800000u;
        memcpy(&scores[9], &bits, sizeof bits);
        start_spm(&file);
        write_scores(&file, scores, SPM_SIZE);
        expect_malformed(&file, "tokenizer.ggml.scores[9]");
    }
    memcpy(types, spm_types, sizeof types);
    types[4] = TOKEN_BYTE;
    start_spm(&file);
    write_types(&file, types, SPM_SIZE);
    expect_malformed(&file, "tokenizer.ggml.tokens[4] is of the byte type");
}

static void ids_out_of_range_are_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct gguf_write file;
        start(&file);
        gguf_write_u32(&file, keys[i], TINY_VOCAB);
        expect_malformed(&file, keys[i]);
        start(&file);
        gguf_write_i32(&file, keys[i], -1);
        expect_malformed(&file, keys[i]);
        start(&file);
        gguf_write_u64(&file, keys[i], UINT64_MAX);
        expect_malformed(&file, keys[i]);
        start(&file);
        gguf_write_u32(&file, keys[i], TINY_VOCAB - 1);
        tokenizer_free(good_tokenizer(&file));
    }
}

static void wrong_merges_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *merge, *part;
    } wrong[] = {
        {"", "[1] is not two"},         {"ab", "[1] is not two"},        {" ", "[1] is not two"},
        {"a ", "[1] is not two"},       {" a", "[1] is not two"},        {"zq a", "left part is not"},
        {"a zq", "right part is not"},  {"a \x01", "right part is not"}, {"z q", "result is not"},
        {"a b c", "right part is not"},
    };
    struct gguf_write file;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        start(&file);
        struct tiny_vocab vocab;
        tiny_vocab(&vocab);
        write_merges(&file, (const char *const[]){vocab.merges[0], wrong[i].merge}, 2);
        expect_malformed(&file, wrong[i].part);
    }
    start(&file);
    gguf_write_drop_key(&file, "tokenizer.ggml.merges");
    expect_malformed(&file, "tokenizer.ggml.merges must be");
    start(&file);
    gguf_put_u32(&gguf_write_array(&file, "tokenizer.ggml.merges", GGUF_U32, 1)->value, 1);
    expect_malformed(&file, "tokenizer.ggml.merges must be");
    start(&file);
    struct gguf_write_kv *kv = gguf_write_array(&file, "tokenizer.ggml.merges", GGUF_STRING, 1);
    char *huge = calloc(1, 200000);
    assert_non_null(huge);
    memset(huge, 'x', 199999);
    huge[100000] = ' ';
    gguf_put_string(&kv->value, huge, 199999);
    free(huge);
    expect_malformed(&file, "tokenizer.ggml.merges[0] is not two");
}

/* The table's hash of 8 bytes (src/text/vocab_table.c): with it, a file can be made whose spellings all collide. */
static uint32_t hash_of_8(uint64_t bytes)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t hash = (8 * factor ^ bytes) * factor;
    hash ^= hash >> 29;
    hash *= factor;
    hash ^= hash >> 32;
    return (uint32_t)(hash * factor >> 32);
}

static void colliding_spellings_are_refused(void **state)
{
    (void)state;
    enum { N = 700, SLOTS = 2048 };
    struct gguf_write file;
    gguf_write_init(&file);
    gguf_write_string(&file, "general.architecture", "llama");
    gguf_write_string(&file, "tokenizer.ggml.model", "gpt2");
    write_merges(&file, NULL, 0);
    struct gguf_write_kv *kv = gguf_write_array(&file, "tokenizer.ggml.tokens", GGUF_STRING, N);
    uint64_t bytes = 0x0101010101010101u;
    for (int i = 0; i < N; bytes++) {
        if (hash_of_8(bytes) % SLOTS != 0) continue;
        gguf_put_string(&kv->value, (const char *)&bytes, sizeof bytes);
        i++;
    }
    expect_malformed(&file, "collides with too many others");
}

/* The smallest vocabularies that are allowed, and odd spellings, work. */
static void odd_vocabularies_work(void **state)
{
    (void)state;
    struct gguf_write file;
    gguf_write_init(&file);
    gguf_write_string(&file, "general.architecture", "llama");
    gguf_write_string(&file, "tokenizer.ggml.model", "gpt2");
    write_tokens(&file, (const char *const[]){"a"}, 1);
    write_merges(&file, NULL, 0);
    struct tokenizer *t = good_tokenizer(&file);
    EXPECT_IDS(t, "banana", TOKENIZER_ADD_SPECIAL, 0, 0, 0); /* bytes without a token are dropped */
    tokenizer_free(t);

    gguf_write_init(&file);
    gguf_write_string(&file, "general.architecture", "llama");
    gguf_write_string(&file, "tokenizer.ggml.model", "llama");
    write_tokens(&file, (const char *const[]){"\xFF\xFE"}, 1); /* not UTF-8 */
    write_scores(&file, (const float[]){0}, 1);
    t = good_tokenizer(&file);
    assert_int_equal(tokenizer_bos(t), -1);
    EXPECT_IDS(t, "\xFF\xFE", TOKENIZER_ADD_SPECIAL, 0); /* after a space that has no token */
    tokenizer_free(t);

    struct tiny_vocab vocab; /* of several tokens with one spelling the first counts */
    tiny_vocab(&vocab);
    start(&file);
    vocab.texts[TINY_VOCAB - 2] = vocab.texts['a'];
    vocab.types[TINY_VOCAB - 2] = TOKEN_NORMAL;
    gguf_write_vocab(&file, &vocab);
    write_merges(&file, NULL, 0);
    t = good_tokenizer(&file);
    struct tokens tokens = {0};
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        assert_int_equal(tokenizer_encode(t, &c, 1, 0, &tokens, NULL), 0);
        assert_true(tokens.ids[tokens.n - 1] < 256);
    }
    assert_int_equal(tokens.n, 256);
    tokens_free(&tokens);
    tokenizer_free(t);
}

/* Bytes of a good vocabulary changed at random: an error or a tokenizer that can be used. */
static void random_changes_do_no_harm(void **state)
{
    (void)state;
    uint64_t seed = 1;
    int n_accepted = 0;
    for (int kind = 0; kind < 2; kind++) {
        struct gguf_write file;
        if (kind) {
            start_spm(&file);
        } else {
            start(&file);
        }
        struct buffer good = {0};
        gguf_write_finish(&file, &good);
        /* the tensors' data does not matter here */
        size_t n = file.data_at > 0 && file.data_at < good.n ? file.data_at : good.n;
        gguf_write_free(&file);
        char *bytes = malloc(good.n);
        assert_non_null(bytes);
        for (int i = 0; i < 700; i++) {
            memcpy(bytes, good.data, good.n);
            for (int change = 0; change <= i % 3; change++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                char *byte = &bytes[(seed >> 33) % n];
                unsigned bits = seed >> 25 & 255;
                *byte = (char)(i % 2 ? bits : (unsigned char)*byte ^ 1u << bits % 8);
            }
            file_write(bytes, good.n);
            struct gguf *gguf;
            struct tokenizer *tokenizer;
            if (gguf_open(&gguf, path, NULL) < 0) continue;
            if (tokenizer_create(&tokenizer, gguf, NULL) == STILE_OK) {
                struct tokens tokens = {0};
                (void)tokenizer_encode(tokenizer, bytes, 500, (unsigned)i & 7, &tokens, NULL);
                for (size_t t = 0; t < tokens.n; t++) {
                    size_t n_bytes;
                    assert_non_null(tokenizer_bytes(tokenizer, tokens.ids[t], true, &n_bytes));
                }
                tokens_free(&tokens);
                tokenizer_free(tokenizer);
                n_accepted++;
            }
            gguf_close(gguf);
        }
        free(bytes);
        buffer_free(&good);
    }
    assert_in_range(n_accepted, 100, 1300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bos_and_eos_follow_the_keys),
        cmocka_unit_test(special_tokens_of_one_byte_are_found),
        cmocka_unit_test(special_tokens_need_trust),
        cmocka_unit_test(doubtful_bytes_spell_no_control_token),
        cmocka_unit_test(sentencepiece_follows_scores),
        cmocka_unit_test(harmony_messages_go_on),
        cmocka_unit_test(end_tokens_listed_as_normal_are_control),
        cmocka_unit_test(wrong_models_are_refused),
        cmocka_unit_test(wrong_tokens_are_refused),
        cmocka_unit_test(wrong_lengths_and_types_are_refused),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(wrong_merges_are_refused),
        cmocka_unit_test(colliding_spellings_are_refused),
        cmocka_unit_test(odd_vocabularies_work),
        cmocka_unit_test(random_changes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
