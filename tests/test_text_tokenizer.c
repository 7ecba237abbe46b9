/* Tokens against peers: llama.cpp on the default model (tests/golden/tokenizer_smollm2.jsonl, made by peer_tokens.py),
 * the `tokenizers` package on other families (made by make_tokenizer.py); round trips, and texts made to be slow. */
#include "base/paths.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>

static const char *golden_dir = "build/golden";

static const char *const families[] = {
    "llama3", "qwen3", "gptoss", "deepseek_v3", "gemma3",         "llama2",
    "qwen35", "gpt2",  "smollm", "tekken",      "deepseek_coder", "deepseek_llm",
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

static struct tokenizer *smollm2;            /* NULL: not fetched */
static struct tokenizer *family[N_FAMILIES]; /* NULL: ../shared is missing */

static struct tokenizer *tokenizer_open(const char *path)
{
    struct stile_error error;
    struct gguf *gguf;
    if (gguf_open(&gguf, path, &error) < 0) return NULL;
    struct tokenizer *tokenizer;
    if (tokenizer_create(&tokenizer, gguf, &error) < 0) fail_msg("%s", error.message);
    gguf_close(gguf);
    return tokenizer;
}

static int open_all(void **state)
{
    (void)state;
    char path[4096];
    struct stile_error error;
    const char *model = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (path_cache(path, sizeof path, model, &error) == STILE_OK) smollm2 = tokenizer_open(path);
    if (!smollm2) printf("SKIPPED: the default model is not in the cache folder: tests on it\n");
    for (int i = 0; i < N_FAMILIES; i++) {
        snprintf(path, sizeof path, "%s/tokenizer_%s.gguf", golden_dir, families[i]);
        family[i] = tokenizer_open(path);
        if (!family[i]) printf("SKIPPED: %s is missing (made from ../shared/tokenizers)\n", path);
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tokenizer_free(smollm2);
    for (int i = 0; i < N_FAMILIES; i++)
        tokenizer_free(family[i]);
    return 0;
}

static struct tokens encode(const struct tokenizer *tokenizer, const char *text, size_t n, unsigned flags)
{
    struct tokens tokens = {0};
    struct stile_error error;
    if (tokenizer_encode(tokenizer, text, n, flags, &tokens, &error) < 0) fail_msg("%s", error.message);
    return tokens;
}

/* What the tokens print, special ones too. */
static struct buffer decode(const struct tokenizer *tokenizer, const struct tokens *tokens)
{
    struct buffer out = {0};
    for (size_t i = 0; i < tokens->n; i++) {
        size_t n;
        const char *bytes = tokenizer_bytes(tokenizer, tokens->ids[i], true, &n);
        bool drop = i == 0 && n > 0 && bytes[0] == ' ' && tokenizer_drops_space(tokenizer);
        buffer_add(&out, bytes + drop, n - drop);
    }
    assert_false(out.failed);
    return out;
}

/* Golden files: a JSON object per line */

static void buffer_hex(struct buffer *out, const char *hex)
{
    for (; hex[0] && hex[1]; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};
        buffer_char(out, (char)strtoul(digits, NULL, 16));
    }
}

static struct buffer entry_bytes(const json_t *entry)
{
    struct buffer bytes = {0};
    const char *text = json_string_value(json_object_get(entry, "text"));
    const char *hex = json_string_value(json_object_get(entry, "hex"));
    assert_true((text != NULL) != (hex != NULL));
    if (text) {
        buffer_string(&bytes, text);
    } else {
        buffer_hex(&bytes, hex);
    }
    return bytes;
}

static void print_ids(const char *label, const int32_t *ids, size_t n)
{
    printf("  %s", label);
    for (size_t i = 0; i < n && i < 60; i++)
        printf(" %d", ids[i]);
    printf("\n");
}

static bool entry_agrees(const struct tokenizer *tokenizer, const char *label, const struct buffer *bytes,
                         const json_t *entry)
{
    const json_t *expected = json_object_get(entry, "ids");
    bool special = json_is_true(json_object_get(entry, "special"));
    struct tokens found = encode(tokenizer, bytes->data, bytes->n, special ? TOKENIZER_PARSE_SPECIAL : 0);
    bool equal = found.n == json_array_size(expected);
    int32_t ids[4096];
    size_t n = json_array_size(expected);
    assert_true(n <= 4096);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(expected, i));
        equal = equal && i < found.n && ids[i] == found.ids[i];
    }
    if (!equal) {
        char *line = json_dumps(json_object_get(entry, json_object_get(entry, "text") ? "text" : "hex"),
                                JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        printf("%s: %s%s\n", label, line, special ? " (special)" : "");
        free(line);
        print_ids("expected", ids, n);
        print_ids("found   ", found.ids, found.n);
    }
    tokens_free(&found);
    return equal;
}

/* Bytes that a vocabulary has no token for are dropped; all others come back. */
static bool comes_back(const struct tokenizer *tokenizer, const char *text, size_t n)
{
    struct tokens tokens = encode(tokenizer, text, n, 0);
    struct buffer back = decode(tokenizer, &tokens);
    struct buffer expected = {0};
    static const struct tokenizer *known;
    static bool has_byte[256];
    if (known != tokenizer) {
        for (int b = 0; b < 256; b++) {
            /* after a letter, so that a space prefix does not matter */
            char two[2] = {'a', (char)b};
            struct tokens alone = encode(tokenizer, two, 2, 0);
            struct buffer printed = decode(tokenizer, &alone);
            has_byte[b] = printed.n == 2 && memcmp(printed.data, two, 2) == 0;
            buffer_free(&printed);
            tokens_free(&alone);
        }
        known = tokenizer;
    }
    for (size_t i = 0; i < n; i++) {
        if (has_byte[(unsigned char)text[i]]) buffer_char(&expected, text[i]);
    }
    bool equal = back.n == expected.n && (back.n == 0 || memcmp(back.data, expected.data, back.n) == 0);
    buffer_free(&back);
    buffer_free(&expected);
    tokens_free(&tokens);
    return equal;
}

/* Returns how many strings there were; those that differ are printed and counted. */
static size_t golden_compare(const struct tokenizer *tokenizer, const char *path, size_t *n_different, size_t *n_seen)
{
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is missing", path);
    char *line = NULL;
    size_t capacity = 0, n = 0;
    while (getline(&line, &capacity, file) > 0) {
        json_error_t why;
        json_t *entry = json_loads(line, 0, &why);
        if (!entry) fail_msg("%s: %s", path, why.text);
        if (json_object_get(entry, "ids")) {
            struct buffer bytes = entry_bytes(entry);
            const char *seen = json_string_value(json_object_get(entry, "seen"));
            if (seen) { /* the peer does not keep bytes that are not UTF-8; we do */
                assert_true(comes_back(tokenizer, bytes.data, bytes.n));
                buffer_free(&bytes);
                buffer_hex(&bytes, seen);
                ++*n_seen;
            }
            *n_different += !entry_agrees(tokenizer, path, &bytes, entry);
            n++;
            buffer_free(&bytes);
        }
        json_decref(entry);
    }
    free(line);
    fclose(file);
    return n;
}

static void default_model_agrees_with_llama_cpp(void **state)
{
    (void)state;
    if (!smollm2) skip();
    size_t n_different = 0, n_seen = 0;
    size_t n = golden_compare(smollm2, "tests/golden/tokenizer_smollm2.jsonl", &n_different, &n_seen);
    printf("smollm2: %zu strings, %zu differ (in %zu that are not UTF-8 the peer reads U+FFFD for each stray byte)\n",
           n, n_different, n_seen);
    assert_true(n >= 1000);
    assert_int_equal(n_different, 0);
}

static void families_agree_with_tokenizers(void **state)
{
    (void)state;
    size_t n_different = 0, n_seen = 0, n = 0;
    for (int i = 0; i < N_FAMILIES; i++) {
        if (!family[i]) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/tokenizer_%s.jsonl", golden_dir, families[i]);
        size_t different_before = n_different, n_here = golden_compare(family[i], path, &n_different, &n_seen);
        printf("%s: %zu strings, %zu differ\n", families[i], n_here, n_different - different_before);
        assert_true(n_here >= 300);
        n += n_here;
    }
    if (n == 0) skip();
    assert_int_equal(n_different, 0);
}

/* Round trips */

static uint64_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static size_t random_unicode(uint64_t *seed, char *out, size_t n_chars)
{
    size_t n = 0;
    for (size_t i = 0; i < n_chars; i++) {
        static const uint32_t ranges[] = {0x80, 0x80, 0x250, 0x800, 0x3000, 0x10000, 0x20000, 0x110000};
        uint32_t c = (uint32_t)(random_next(seed) % ranges[random_next(seed) % 8]);
        if (c >= 0xD800 && c <= 0xDFFF) c = ' ';
        if (c == 0x2581) c = '_'; /* SentencePiece's own spelling of a space */
        n += utf8_encode(c, out + n);
    }
    return n;
}

static void round_trip(const struct tokenizer *tokenizer, const char *name)
{
    uint64_t seed = 7;
    char text[4 * 300];
    for (int i = 0; i < 1000; i++) {
        size_t n = random_next(&seed) % 300;
        if (i % 2) {
            n = random_unicode(&seed, text, n);
        } else {
            for (size_t b = 0; b < n; b++)
                text[b] = (char)random_next(&seed);
        }
        /* U+2581 in UTF-8, here by chance */
        for (size_t b = 0; b + 2 < n; b++) {
            if (memcmp(text + b, "\xE2\x96\x81", 3) == 0) text[b] = '_';
        }
        if (!comes_back(tokenizer, text, n)) fail_msg("%s: text %d does not come back", name, i);
    }
}

static void random_bytes_and_unicode_come_back(void **state)
{
    (void)state;
    if (smollm2) round_trip(smollm2, "smollm2");
    for (int i = 0; i < N_FAMILIES; i++) {
        if (family[i]) round_trip(family[i], families[i]);
    }
}

/* Every byte has a token in these vocabularies: nothing at all may be lost. */
static void complete_vocabularies_lose_no_byte(void **state)
{
    (void)state;
    char all[256];
    for (int b = 0; b < 256; b++)
        all[b] = (char)(255 - b);
    for (int i = 0; i < N_FAMILIES; i++) {
        if (!family[i]) continue;
        struct tokens tokens = encode(family[i], all, sizeof all, 0);
        struct buffer back = decode(family[i], &tokens);
        assert_int_equal(back.n, sizeof all);
        assert_memory_equal(back.data, all, sizeof all);
        buffer_free(&back);
        tokens_free(&tokens);
    }
}

/* Texts made to be slow */

/* Of this thread: the machine may be busy with other things. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct run {
    const char *unit, *tail;
};

static void encode_in_time(const struct tokenizer *tokenizer, const char *name, const struct run *run, size_t n)
{
    char *text = malloc(n);
    assert_non_null(text);
    size_t n_unit = strlen(run->unit), n_tail = strlen(run->tail);
    for (size_t i = 0; i < n; i++)
        text[i] = run->unit[i % n_unit];
    memcpy(text + n - n_tail, run->tail, n_tail);
    double begin = cpu_seconds();
    struct tokens tokens = encode(tokenizer, text, n, TOKENIZER_PARSE_SPECIAL);
    double seconds = cpu_seconds() - begin;
    if (seconds > 3) fail_msg("%s: %zu bytes of \"%s\" take %.1f s", name, n, run->unit, seconds);
    assert_true(tokens.n > 0);
    tokens_free(&tokens);
    free(text);
}

static const struct tokenizer *family_named(const char *name)
{
    for (int i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i], name) == 0) return family[i];
    }
    return NULL;
}

static void long_runs_take_linear_time(void **state)
{
    (void)state;
    static const struct run runs[] = {
        {" ", "a"},
        {" ", "\x01"},
        {"a", ""},
        {"A", "1"},
        {"\xF0\x9F\xA6\x99", ""},
        {"\n", ""},
        {"\n ", "x"},
        {"\r", "\n"},
        {"'", "s"},
        {"\xCC\x81", " "},
        {"1", "."},
        {"<|", ""},
        {"\xFF", "a"},
        {" \xE3\x80\x80", "-"},
        {"\xE4\xB8\xAD\xE0\xA0\x80", ""},
    };
    enum { N_RUNS = sizeof runs / sizeof runs[0] };
    static const char *const distinct[] = {"qwen3", "gptoss", "deepseek_v3", "deepseek_coder", "deepseek_llm"};
    for (size_t i = 0; i < N_RUNS; i++) {
        for (size_t f = 0; f < sizeof distinct / sizeof distinct[0]; f++) {
            const struct tokenizer *tokenizer = family_named(distinct[f]);
            if (tokenizer) encode_in_time(tokenizer, distinct[f], &runs[i], 1 << 17);
        }
        if (smollm2) encode_in_time(smollm2, "smollm2", &runs[i], i < 5 ? 1 << 20 : 1 << 17);
        if (family_named("gemma3")) encode_in_time(family_named("gemma3"), "gemma3", &runs[i], 1 << 17);
    }
}

/* Flags */

static void expect_ids(const struct tokenizer *tokenizer, const char *text, unsigned flags, const int32_t *ids,
                       size_t n)
{
    struct tokens tokens = encode(tokenizer, text, strlen(text), flags);
    assert_int_equal(tokens.n, n);
    assert_memory_equal(tokens.ids, ids, n * sizeof *ids);
    tokens_free(&tokens);
}

static void default_model_knows_its_tokens(void **state)
{
    (void)state;
    if (!smollm2) skip();
    assert_int_equal(tokenizer_size(smollm2), 49152);
    assert_string_equal(tokenizer_model(smollm2), "gpt2");
    assert_string_equal(tokenizer_pre(smollm2), "smollm");
    assert_int_equal(tokenizer_bos(smollm2), 1);
    assert_int_equal(tokenizer_eos(smollm2), 2);
    assert_false(tokenizer_adds_bos(smollm2));
    assert_false(tokenizer_drops_space(smollm2));
    for (int32_t id = -2; id < 50000; id++)
        assert_int_equal(tokenizer_is_end(smollm2, id), id == 0 || id == 2);
    size_t n = 1;
    assert_non_null(tokenizer_bytes(smollm2, 2, false, &n));
    assert_int_equal(n, 0);
    assert_memory_equal(tokenizer_bytes(smollm2, 2, true, &n), "<|im_end|>", n);
    assert_int_equal(n, 10);
    assert_null(tokenizer_bytes(smollm2, 49152, true, &n));
    assert_null(tokenizer_bytes(smollm2, -1, true, &n));
    assert_string_equal(tokenizer_name(smollm2, 49152), "");
    assert_string_equal(tokenizer_name(smollm2, 905), "\xC4\xA0world");
    assert_memory_equal(tokenizer_bytes(smollm2, 905, false, &n), " world", 6);
    expect_ids(smollm2, "", TOKENIZER_ADD_SPECIAL, NULL, 0);
}

/* Tokens are added to what is there; each text is a whole, with SentencePiece's space before it. */
static void pieces_of_a_text_add_up(void **state)
{
    (void)state;
    const struct tokenizer *llama2 = family_named("llama2");
    if (!llama2) skip();
    struct tokens tokens = {0};
    struct stile_error error;
    assert_int_equal(tokenizer_encode(llama2, "Hello", 5, 0, &tokens, &error), 0);
    assert_int_equal(tokenizer_encode(llama2, "world", 5, 0, &tokens, &error), 0);
    static const int32_t expected[] = {22557, 1526};
    assert_int_equal(tokens.n, 2);
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    tokens_free(&tokens);
}

struct shared_use {
    const struct tokenizer *tokenizer;
    const char *text;
    struct tokens tokens;
};

static void *use_again_and_again(void *arg)
{
    struct shared_use *use = arg;
    struct stile_error error;
    for (int i = 0; i < 200; i++) {
        use->tokens.n = 0;
        if (tokenizer_encode(use->tokenizer, use->text, strlen(use->text), 0, &use->tokens, &error) < 0) break;
    }
    return NULL;
}

static void threads_share_one_tokenizer(void **state)
{
    (void)state;
    if (!smollm2) skip();
    static const char text[] = "Several threads, one tokenizer: \xE4\xBD\xA0\xE5\xA5\xBD 12345 don't   mix\n\n";
    struct shared_use uses[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        uses[i] = (struct shared_use){smollm2, text + i, {0}};
        assert_int_equal(pthread_create(&threads[i], NULL, use_again_and_again, &uses[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        expect_ids(smollm2, text + i, 0, uses[i].tokens.ids, uses[i].tokens.n);
        tokens_free(&uses[i].tokens);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) golden_dir = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_model_agrees_with_llama_cpp),
        cmocka_unit_test(families_agree_with_tokenizers),
        cmocka_unit_test(random_bytes_and_unicode_come_back),
        cmocka_unit_test(complete_vocabularies_lose_no_byte),
        cmocka_unit_test(long_runs_take_linear_time),
        cmocka_unit_test(default_model_knows_its_tokens),
        cmocka_unit_test(pieces_of_a_text_add_up),
        cmocka_unit_test(threads_share_one_tokenizer),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
