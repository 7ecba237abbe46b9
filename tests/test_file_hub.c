/* Names at the hub: which file of its list is meant; and lists that are no lists. */
#include "file/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char listing[] =
    "{\"id\": \"org/repo\", \"siblings\": ["
    "{\"rfilename\": \"README.md\", \"size\": 5},"
    "{\"rfilename\": \"mmproj-F16.gguf\", \"size\": 900000000},"
    "{\"rfilename\": \"imatrix_x.gguf\", \"size\": 1},"
    "{\"rfilename\": \"Tall-1B-it-Q4_K_M.gguf\", \"size\": 807694464, \"lfs\": {\"size\": 807694464}},"
    "{\"rfilename\": \"Tall-1B-it-UD-Q4_K_M.gguf\", \"lfs\": {\"size\": 807694465}},"
    "{\"rfilename\": \"Tall-1B-it-Q4_K_S.gguf\", \"size\": 700000000},"
    "{\"rfilename\": \"Tall-1B-it-IQ4_XS.gguf\", \"size\": 600000000},"
    "{\"rfilename\": \"Tall-1B-it-f16.gguf\", \"size\": -5},"
    "{\"rfilename\": \"Q8_0/Tall-1B-it-Q8_0-00002-of-00002.gguf\", \"size\": 1073741824},"
    "{\"rfilename\": \"Q8_0/Tall-1B-it-Q8_0-00001-of-00002.gguf\", \"size\": 2147483648},"
    "{\"rfilename\": \"a/Tall-1B-it-Q6_K.gguf\"},"
    "{\"rfilename\": \"b/Tall-1B-it-Q6_K.gguf\"},"
    "{\"rfilename\": \"b/bad\\u0007-Q3_K.gguf\", \"size\": \"many\"}"
    "]}";

static void right_choices(void **state)
{
    (void)state;
    static const struct {
        const char *selector, *file;
    } cases[] = {
        {"Q4_K_M", "Tall-1B-it-Q4_K_M.gguf"}, /* although UD-Q4_K_M has it too */
        {"q4_k_m", "Tall-1B-it-Q4_K_M.gguf"},
        {"UD-Q4_K_M", "Tall-1B-it-UD-Q4_K_M.gguf"},
        {"iq4_xs", "Tall-1B-it-IQ4_XS.gguf"},
        {"F16", "Tall-1B-it-f16.gguf"}, /* and not the projector */
        {"mmproj-F16.gguf", "mmproj-F16.gguf"},
        {"q8_0", "Q8_0/Tall-1B-it-Q8_0-00001-of-00002.gguf"},
        {"Q8_0/Tall-1B-it-Q8_0-00002-of-00002.gguf", "Q8_0/Tall-1B-it-Q8_0-00002-of-00002.gguf"},
        {"Tall-1B-it-Q4_K_S.gguf", "Tall-1B-it-Q4_K_S.gguf"},
        {"tall-1b-it-q4_k_s", "Tall-1B-it-Q4_K_S.gguf"},
        {"b/Tall-1B-it-Q6_K.gguf", "b/Tall-1B-it-Q6_K.gguf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stile_error error = {0};
        char *file = NULL;
        if (hub_choose(listing, strlen(listing), "org/repo", cases[i].selector, &file, &error) != 0)
            fail_msg("%s: %s", cases[i].selector, error.message);
        assert_string_equal(file, cases[i].file);
        free(file);
    }
}

static void one(const char *json, const char *selector, int code, const char *says)
{
    struct stile_error error = {0};
    char *file = NULL;
    if (hub_choose(json, strlen(json), "org/repo", selector, &file, &error) != code)
        fail_msg("%.300s: '%s', chosen: %s", json, error.message, file ? file : "none");
    assert_null(file);
    if (!strstr(error.message, says)) fail_msg("'%s' lacks '%s'", error.message, says);
    assert_memory_equal(error.message, "org/repo: ", 10);
    for (const char *c = error.message; *c; c++)
        assert_true((unsigned char)*c >= ' ');
}

static void wrong_choices(void **state)
{
    (void)state;
    enum { ARGUMENT = STILE_ERROR_ARGUMENT, MALFORMED = STILE_ERROR_MALFORMED };
    one(listing, NULL, ARGUMENT, "holds 9 models, name one of them behind a colon: ");
    one(listing, NULL, ARGUMENT, "Q4_K_M 770 MiB, ");
    one(listing, "Q4_K", ARGUMENT, "no file \"Q4_K\"; there are: ");
    one(listing, "Q4_K", ARGUMENT, "-Q8_0 3.0 GiB, "); /* both shards */
    one(listing, "Q6_K", ARGUMENT, "\"Q6_K\" fits 2 files, name one: a/Tall-1B-it-Q6_K.gguf, b/Tall-1B-it-Q6_K.gguf");
    one(listing, "", ARGUMENT, "no file \"\"");
    one("{\"siblings\": []}", NULL, ARGUMENT, "no GGUF model");
    one("{\"siblings\": [{\"rfilename\": \"model.safetensors\"}]}", "Q4_0", ARGUMENT, "no GGUF model");
    one("", NULL, MALFORMED, "not JSON");
    one("<html>", NULL, MALFORMED, "not JSON");
    one("[1, 2]", NULL, MALFORMED, "no list");
    one("{\"siblings\": {\"rfilename\": \"x.gguf\"}}", NULL, MALFORMED, "no list");
    one("{\"error\": \"Repository not found\"}", NULL, MALFORMED, "no list");
    one("{\"siblings\": [1, null, [], {}, {\"rfilename\": 5}, {\"rfilename\": "
        "\".gguf\"}]}",
        NULL, ARGUMENT, "no GGUF model");
}

static void one_model_needs_no_choice(void **state)
{
    (void)state;
    static const char json[] =
        "{\"siblings\": [{\"rfilename\": \"mmproj-x.gguf\"}, {\"rfilename\": \"x y-Q4_0.GGUF\"}]}";
    char *file = NULL;
    assert_int_equal(hub_choose(json, strlen(json), "org/repo", NULL, &file, NULL), 0);
    assert_string_equal(file, "x y-Q4_0.GGUF");
    free(file);
    one(json, "Q8_0", STILE_ERROR_ARGUMENT, "no file \"Q8_0\"; there are: Q4_0");
}

static void long_lists(void **state)
{
    (void)state;
    struct buffer json = {0};
    buffer_string(&json, "{\"siblings\": [");
    for (int i = 0; i < 5000; i++)
        buffer_printf(&json, "{\"rfilename\": \"m-%04d-%0*d.gguf\", \"size\": 123456789012345678},", i, i % 300, i);
    buffer_string(&json, "{}]}");
    one(json.data, NULL, STILE_ERROR_ARGUMENT, " more");
    one(json.data, "none", STILE_ERROR_ARGUMENT, " more");
    json.n -= 2;
    for (int i = 0; i < 6000; i++)
        buffer_string(&json, ",{}");
    buffer_string(&json, "]}");
    one(json.data, NULL, STILE_ERROR_MALFORMED, "at most 10000 files");
    buffer_free(&json);
    for (int i = 0; i < 100000; i++)
        buffer_char(&json, '[');
    one(json.data, NULL, STILE_ERROR_MALFORMED, "not JSON");
    buffer_free(&json);
}

/* Whatever is made of it, nothing breaks: each cut, and each byte as several others. */
static void damaged_lists(void **state)
{
    (void)state;
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x10, 0x20, 0x80};
    size_t n = strlen(listing);
    for (size_t at = 0; at < n; at++) {
        for (size_t m = 0; m <= sizeof masks; m++) {
            size_t n_copy = m < sizeof masks ? n : at;
            char *copy = malloc(n_copy + 1), *file = NULL;
            memcpy(copy, listing, n_copy);
            if (m < sizeof masks) copy[at] = (char)(copy[at] ^ (char)masks[m]);
            int code = hub_choose(copy, n_copy, "org/repo", at % 2 ? "Q6_K" : NULL, &file, NULL);
            assert_int_equal(code == 0, file != NULL);
            free(file);
            free(copy);
        }
    }
}

static void names(void **state)
{
    (void)state;
    static const char *const right[] = {"org/repo", "a/b", "unsloth/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
                                        "org/repo.v1:x/y z.gguf", "org/repo-gguf"};
    static const char *const wrong[] = {"",        "repo",      "/repo", "org/",       "org/repo:", "models/x.gguf",
                                        "./a",     "../a",      "a/b/c", "~/a",        "-a/b",      "a b/c",
                                        "a/b?c=d", "a/../b",    "a/b#c", "http://a/b", "a/b\nc",    "a/b/c.gguf:Q4_0",
                                        "a/.b",    "Q4_K_M:a/b"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        if (!hub_is_name(right[i])) fail_msg("%s", right[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (hub_is_name(wrong[i])) fail_msg("%s", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_choices), cmocka_unit_test(wrong_choices), cmocka_unit_test(one_model_needs_no_choice),
        cmocka_unit_test(long_lists),    cmocka_unit_test(damaged_lists), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
