/* The pieces that a family's expressions cut text into, where no golden tokens would show a wrong cut. */
#include "text/pretokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* `cut`: the text with '|' between its pieces (and nowhere else). */
static void expect_cut(const char *name, const char *cut)
{
    struct stile_error error;
    struct pretokenizer *pretokenizer;
    if (pretokenizer_create(&pretokenizer, name, "model.gguf", &error) < 0) fail_msg("%s", error.message);
    char text[256];
    size_t n = 0;
    for (const char *c = cut; *c; c++) {
        if (*c != '|') text[n++] = *c;
    }
    struct pieces pieces;
    if (pretokenizer_split(pretokenizer, text, n, &pieces, &error) < 0) fail_msg("%s", error.message);
    char found[512];
    size_t n_found = 0, at = 0;
    for (size_t i = 0; i < pieces.n; i++) {
        if (i > 0) found[n_found++] = '|';
        assert_true(pieces.ends[i] > at && pieces.ends[i] <= n);
        memcpy(found + n_found, text + at, pieces.ends[i] - at);
        n_found += pieces.ends[i] - at;
        at = pieces.ends[i];
    }
    found[n_found] = 0;
    assert_int_equal(at, n);
    if (strcmp(found, cut) != 0) fail_msg("%s: \"%s\" is cut into \"%s\"", name, cut, found);
    pieces_free(&pieces);
    pretokenizer_free(pretokenizer);
}

static void families_cut_as_published(void **state)
{
    (void)state;
    expect_cut("gpt-2", "I|'ve| been|  | there|,| 123| 4|\n\n| x|   ");
    expect_cut("gpt-2", "DON|'|T| don|'t");
    expect_cut("default", "DON|'|T| don|'t");
    expect_cut("smollm", "a|1|2| |3|b|  | c");
    expect_cut("llama-bpe", "DON|'T|  | |123|456|7|,\n\n|x|(y| \n\n| z");
    expect_cut("qwen2", "a|1|2| x|.\n\n|\tif");
    expect_cut("qwen35", "e\xCC\x81t|1| \xE0\xA4\xB9\xE0\xA4\xBF");
    expect_cut("gpt-4o", "hello|WORLD's| XMLHttp|Request| a|/b| //\n/\n|x");
    expect_cut("tekken", "hello|WORLD|'s|1|2");
    expect_cut("deepseek-v3", "123|4|\xE4\xBD\xA0\xE5\xA5\xBD|!abc| def| ==\n|x");
    expect_cut("deepseek-coder", "ab| cd|\n|1|2| (|x");
    expect_cut("deepseek-llm", "ab| cd|\n|12| (|x|  ");
}

/* A byte that is no part of UTF-8 is like a control character: neither letter nor space. */
static void stray_bytes_are_like_control_characters(void **state)
{
    (void)state;
    expect_cut("gpt-2", "a|\xFF|b| \xFF\x80!| c");
    expect_cut("gpt-2", "1|\xE2\x82|2| ");
    expect_cut("llama-bpe", "a|\xFFz|1");
}

/* U+180E is a format character since Unicode 6.3, no longer white space; U+3000, U+0085 and U+00A0 are. */
static void white_space_is_that_of_unicode(void **state)
{
    (void)state;
    expect_cut("gpt-2", "a|\xE1\xA0\x8E!\xE1\xA0\x8E|b| \xE1\xA0\x8E");
    expect_cut("gpt-2", "a|\xE3\x80\x80|!");
    expect_cut("gpt-2", "a|\xC2\x85|\xC2\xA0|!");
    expect_cut("gpt-2", "a|\xE2\x80\x8B!|b"); /* U+200B is not */
}

/* (?i:'s) takes in U+017F, the long s, whose lower case is s. */
static void contractions_fold_case_as_unicode_does(void **state)
{
    (void)state;
    expect_cut("llama-bpe", "x|'\xC5\xBF|y");
    expect_cut("gpt-2", "x|'|\xC5\xBF");
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    struct stile_error error;
    struct pretokenizer *pretokenizer;
    assert_int_equal(pretokenizer_create(&pretokenizer, "viking", "dir/model.gguf", &error), STILE_ERROR_UNSUPPORTED);
    assert_null(pretokenizer);
    assert_non_null(strstr(error.message, "dir/model.gguf: tokenizer.ggml.pre: \"viking\""));
    assert_non_null(strstr(error.message, "qwen2"));
    assert_non_null(strstr(error.message, "deepseek-llm")); /* the last one: the list is not cut off */
    pretokenizer_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_cut_as_published),      cmocka_unit_test(stray_bytes_are_like_control_characters),
        cmocka_unit_test(white_space_is_that_of_unicode), cmocka_unit_test(contractions_fold_case_as_unicode_does),
        cmocka_unit_test(unknown_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
