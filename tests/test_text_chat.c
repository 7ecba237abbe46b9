/* Chat templates against Python's jinja2 (build/golden/chat.json, made by tests/golden/make_chat.py), the origin of
 * every byte, and templates that mean harm. */
#include "base/buffer.h"
#include "base/clock.h"
#include "text/chat.h"
#include "text/jinja_render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const char *golden_dir = "build/golden";
static const char template_dir[] = "../shared/templates";

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    struct buffer b = {0};
    char chunk[4096];
    if (!file) return NULL;
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buffer_add(&b, chunk, got);
    fclose(file);
    *n = b.n;
    return buffer_take(&b);
}

/* Compiles and renders; the error's code, or 0 with the text. */
static int render(const char *name, const char *source, size_t n, const json_t *variables, int64_t now,
                  struct chat_text *text, struct stile_error *error)
{
    static const char *const trusted[] = {"bos_token", "eos_token", NULL};
    struct chat_template *tpl = NULL;
    int code = chat_template_compile(&tpl, name, source, n, error);
    if (code == STILE_OK) code = jinja_render(tpl, variables, trusted, NULL, now, text, error);
    chat_template_free(tpl);
    return code;
}

/* The segments tile the text, alternate, and are not empty. */
static void check_segments(const struct chat_text *text)
{
    size_t at = 0;
    for (size_t i = 0; i < text->n_segments; i++) {
        assert_int_equal(text->segments[i].begin, at);
        assert_true(text->segments[i].end > at);
        if (i > 0) assert_true(text->segments[i].from_variables != text->segments[i - 1].from_variables);
        at = text->segments[i].end;
    }
    assert_int_equal(at, text->n);
    assert_int_equal(text->text[text->n], '\0');
}

/* The message after "NAME: line L, column C: ". */
static const char *message_part(const char *message)
{
    const char *column = strstr(message, ", column ");
    const char *colon = column ? strstr(column, ": ") : NULL;
    return colon ? colon + 2 : message;
}

/* What error_set makes of a message: bytes that are not printable become '?'. */
static void as_error_prints(char *message)
{
    for (; *message; message++)
        if ((unsigned char)*message < 0x20 || *message == 0x7f) *message = '?';
}

/* 0, or 1 after saying what differs. */
static int check_case(const json_t *c, const json_t *snippet_variables, int64_t now)
{
    const char *name = json_string_value(json_object_get(c, "name"));
    const char *file = json_string_value(json_object_get(c, "file"));
    const json_t *expected = json_object_get(c, "expected"), *raised = json_object_get(c, "raised");
    json_t *variables = json_object_get(c, "variables");
    struct chat_text text = {0};
    struct stile_error error = {0};
    char *source, path[512];
    size_t n = 0;
    if (file) {
        snprintf(path, sizeof path, "%s/%s", template_dir, file);
        source = read_file(path, &n);
        assert_non_null(source);
    } else {
        n = json_string_length(json_object_get(c, "source"));
        source = malloc(n + 1);
        assert_non_null(source);
        memcpy(source, json_string_value(json_object_get(c, "source")), n + 1);
        json_object_update_missing(variables, (json_t *)(uintptr_t)snippet_variables);
    }
    int code = render(name, source, n, variables, now, &text, &error), failed = 0;
    if (code == STILE_OK) check_segments(&text);
    if (expected) {
        failed = code != STILE_OK || text.n != json_string_length(expected) ||
                 memcmp(text.text, json_string_value(expected), text.n) != 0;
    } else if (raised) {
        char *message = strdup(json_string_value(raised));
        as_error_prints(message);
        failed = code != STILE_ERROR_TEMPLATE || strcmp(message_part(error.message), message) != 0;
        free(message);
    } else {
        failed = code != STILE_ERROR_TEMPLATE;
    }
    if (failed) {
        print_error("%s\n  source   %.200s\n  expected %s\n  got      %s\n", name, file ? file : source,
                    expected ? json_string_value(expected)
                    : raised ? json_string_value(raised)
                             : json_string_value(json_object_get(c, "error")),
                    code == STILE_OK ? text.text : error.message);
    }
    chat_text_free(&text);
    free(source);
    return failed;
}

static void test_golden(void **state)
{
    char path[512];
    json_error_t error;
    (void)state;
    snprintf(path, sizeof path, "%s/chat.json", golden_dir);
    json_t *golden = json_load_file(path, 0, &error);
    if (!golden) fail_msg("%s: %s: run tests/golden/make_chat.py first", path, error.text);
    FILE *probe = fopen("../shared/templates/Qwen-Qwen3-0.6B.jinja", "rb");
    if (probe)
        fclose(probe);
    else
        printf("skipped: %s is missing, so only the snippets are rendered\n", template_dir);
    int64_t now = json_integer_value(json_object_get(golden, "now"));
    const json_t *snippet_variables = json_object_get(golden, "snippet_variables"), *cases;
    size_t i, counts[2][2] = {{0}}, n_failed = 0;
    json_t *c;
    cases = json_object_get(golden, "cases");
    json_array_foreach(cases, i, c)
    {
        bool is_file = json_object_get(c, "file") != NULL;
        if (is_file && !probe) continue;
        counts[is_file][json_object_get(c, "expected") == NULL]++;
        n_failed += (size_t)check_case(c, snippet_variables, now);
    }
    printf("chat templates: %zu renderings and %zu errors of published templates, %zu and %zu of snippets\n",
           counts[1][0], counts[1][1], counts[0][0], counts[0][1]);
    json_decref(golden);
    assert_int_equal(n_failed, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) golden_dir = argv[1];
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests_name("text/chat", tests, NULL, NULL);
}
