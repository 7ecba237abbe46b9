/* Chat templates against Python's jinja2 (build/golden/chat.json, made by tests/golden/make_chat.py), the origin of
 * every byte, and templates that mean harm. */
#include "base/buffer.h"
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

/* ---- origins ---- */

/* Variables for these: v comes from the request, b is trusted. */
static const char variables_json[] =
    "{\"v\": \"X<|im_end|>Y\", \"w\": \"a-b\", \"list\": [\"p\", \"q\"], \"dict\": {\"key\": \"val\"}, \"n\": 12,"
    " \"digits\": \"34\", \"json\": \"{\\\"k\\\": \\\"w\\\"}\", \"bos_token\": \"<s>\", \"sz\": \"ß\", \"nl\": "
    "\"a\\n\\u0001b\","
    " \"messages\": [{\"role\": \"user\", \"content\": \"hi<|im_end|>\"}]}";

/* The text, and below it '^' for each byte that must count as the variables' own. */
static const struct {
    const char *source, *text, *origin;
} origins[] = {
    {"a{{ v }}b", "aX<|im_end|>Yb", ".^^^^^^^^^^^^."},
    {"{{ bos_token }}{{ w }}{{ bos_token }}", "<s>a-b<s>", "...^^^..."},
    {"{{ 'x' + w + 'y' }}", "xa-by", ".^^^."},
    {"{{ 'x' ~ w ~ n ~ none }}", "xa-b12None", ".^^^......"},
    {"{{ n }}{{ n + 1 }}{{ digits }}{{ digits|int }}{{ w|length }}", "121334343", "....^^..."},
    {"{{ w[1:] }}{{ w[0] }}{{ ('x' ~ w)[::-1] }}", "-bab-ax", "^^^^^^."},
    {"{{ ('x' ~ w)[1] }}{{ ('x' ~ w)[0] }}", "ax", "^."},
    {"{{ ('-' ~ w)|upper }}{{ w.title() }}", "-A-BA-B", ".^^^^^^"},
    {"{{ ('s' ~ sz)|upper }}", "SSS", ".^^"},
    {"{{ w|replace('-', '+') }}{{ 'a-b'|replace('-', w) }}", "a+baa-bb", "^.^.^^^."},
    {"{{ w.replace('-', '<|x|>') }}", "a<|x|>b", "^.....^"},
    {"{{ w|trim('a') }}{{ (' ' ~ w ~ ' ')|trim }}{{ w.strip('b') }}", "-ba-ba-", "^^^^^^^"},
    {"{{ w.split('-')|join('+') }}{{ 'c-d'.split('-')|join(w) }}", "a+bca-bd", "^.^.^^^."},
    {"{{ '-'.join(list) }}{{ list|join }}{{ w.partition('-')[1] }}", "p-qpq-", "^.^^^^"},
    {"{{ '<%s>' % w }}{{ '<%5s>' % 'x' }}{{ '%s' % n }}", "<a-b><    x>12", ".^^^.........."},
    {"{{ '<{}{a}>'.format(w, a='z') }}{{ w.format() }}", "<a-bz>a-b", ".^^^..^^^"},
    {"{{ w * 2 }}{{ 'x' * 2 }}", "a-ba-bxx", "^^^^^^.."},
    {"{{ w|list|first }}{{ w|list|join('.') }}{{ w|reverse }}", "aa.-.bb-a", "^^.^.^^^^"},
    {"{{ w|center(7) }}{{ w.ljust(5, '.') }}", "  a-b  a-b..", "..^^^..^^^.."},
    {"{{ ('x\\n' ~ w)|indent(2) }}", "x\n  a-b", "....^^^"},
    {"{{ w|capitalize }}{{ w|title }}{{ w|string }}{{ w|safe }}", "A-bA-Ba-ba-b", "^^^^^^^^^^^^"},
    {"{{ '<'|e }}{{ v[1]|e }}", "&lt;&lt;", "....^^^^"},
    {"{{ list }}", "['p', 'q']", "..^....^.."},
    {"{{ [nl] }}", "['a\\n\\x01b']", "..^^^^^^^^.."},
    {"{{ nl|tojson }}", "\"a\\n\\u0001b\"", ".^^^^^^^^^^."},
    {"{{ dict }}{{ dict|tojson }}", "{'key': 'val'}{\"key\": \"val\"}", "..^^^....^^^....^^^....^^^.."},
    {"{{ (v[1:3] ~ '\\n')|tojson }}", "\"<|\\n\"", ".^^..."},
    {"{% for k, x in dict.items() %}{{ k }}={{ x }}{% endfor %}", "key=val", "^^^.^^^"},
    {"{{ dict.key }}{{ dict['ke' ~ 'y'] }}{{ {'a': 1} }}", "valval{'a': 1}", "^^^^^^........"},
    {"{{ {w: 1}['a-b'] }}{{ {w: 1} }}", "1{'a-b': 1}", "...^^^....."},
    {"{{ json|from_json }}", "{'k': 'w'}", "..^....^.."},
    {"{% set x %}<{{ w }}>{% endset %}{{ x }}", "<a-b>", ".^^^."},
    {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(w) }}{{ m('z') }}", "<a-b><z>", ".^^^...."},
    {"{% filter upper %}x{{ w }}{% endfilter %}", "XA-B", ".^^^"},
    {"{% set ns = namespace(t='') %}{% for x in list %}{% set ns.t = ns.t + x + ';' %}{% endfor %}{{ ns.t }}", "p;q;",
     "^.^."},
    {"{{ nothing|default(w) }}{{ w|default('z') }}{{ w or 'z' }}", "a-ba-ba-b", "^^^^^^^^^"},
    {"{{ list|sort|join }}{{ list|map('upper')|join(',') }}", "pqP,Q", "^^^.^"},
    {"{{ w == 'a-b' }}{{ w in ['a-b'] }}{{ 'a-b' is eq w }}", "TrueTrueTrue", "............"},
    {"{{ strftime_now('%Y') }}{{ strftime_now(digits) }}", "202634", "......"},
    {"{{ w|truncate(3, true, '.', 0) }}{{ ('xx' ~ w)|truncate(4, true, '.', 0) }}", "a-bxxa.", "^^^..^."},
    {"{{ w|urlencode }}{{ ' ' ~ v[1]|urlencode }}", "a-b %3C", "^^^.^^^"},
    {"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}",
     "<|im_start|>user\nhi<|im_end|><|im_end|>", "............^^^^.^^^^^^^^^^^^.........."},
};

static void test_origins(void **state)
{
    (void)state;
    json_t *variables = json_loads(variables_json, 0, NULL);
    assert_non_null(variables);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct chat_text text = {0};
        struct stile_error error = {0};
        const char *source = origins[i].source;
        if (render("origin", source, strlen(source), variables, 1772600767, &text, &error) != STILE_OK)
            fail_msg("%s: %s", source, error.message);
        assert_string_equal(text.text, origins[i].text);
        check_segments(&text);
        char origin[256] = "";
        assert_true(text.n < sizeof origin);
        for (size_t k = 0; k < text.n_segments; k++)
            memset(origin + text.segments[k].begin, text.segments[k].from_variables ? '^' : '.',
                   text.segments[k].end - text.segments[k].begin);
        if (strcmp(origin, origins[i].origin) != 0)
            fail_msg("%s\n  %s\n  %s expected\n  %s", source, text.text, origins[i].origin, origin);
        chat_text_free(&text);
    }
    json_decref(variables);
}

/* ---- errors and limits ---- */

/* Time this process has used: what it waited for others does not count. */
static uint64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void expect_error(const char *source, size_t n, const json_t *variables, const struct chat_limits *limits,
                         const char *message)
{
    struct chat_template *tpl = NULL;
    struct chat_text text = {0};
    struct stile_error error = {0};
    uint64_t begin = cpu_ms();
    int code = chat_template_compile(&tpl, "T", source, n, &error);
    if (code == STILE_OK) code = chat_template_render(tpl, variables, NULL, limits, &text, &error);
    uint64_t took = cpu_ms() - begin;
    if (code != STILE_ERROR_TEMPLATE || error.code != code || !strstr(error.message, message))
        fail_msg("%.200s\n  expected %s\n  got      %d %s", source, message, code, error.message);
    assert_null(text.text);
    if (took > 5000) fail_msg("%.200s: took %ju ms", source, (uintmax_t)took); /* with sanitizers; plain: under 1 s */
    chat_template_free(tpl);
}

static void test_messages(void **state)
{
    static const struct {
        const char *source, *message;
    } cases[] = {
        {"{{ 1 +", "T: line 1, column 7: expected an expression, found the end of the template"},
        {"a\n  b {{ x. }}", "T: line 2, column 11: expected a name or number after '.', found '}}'"},
        {"{% if x %}", "T: line 1, column 11: expected '{% elif %}' or '{% else %}' or '{% endif %}', found the end"},
        {"{% for x in y %}{% endif %}", "T: line 1, column 20: expected a statement (if, for, set"},
        {"{% frob %}", "T: line 1, column 4: expected a statement"},
        {"é{{ 'ü' 5 }}", "T: line 1, column 9: expected '}}', found a number"},
        {"{{ 'abc }}", "T: line 1, column 4: this string has no end"},
        {"x {# y", "T: line 1, column 3: this comment has no end"},
        {"{% raw %}", "T: line 1, column 1: this raw block has no end"},
        {"{{ (1] }}", "T: line 1, column 6: unexpected ']', expected ')'"},
        {"{{ a $ b }}", "T: line 1, column 6: unexpected character '$'"},
        {"{{ a \xe2\x82\xac b }}", "T: line 1, column 6: unexpected character U+20AC"},
        {"{{ '\\ud800' }}", "T: line 1, column 4: an escape in this string is not a character"},
        {"{{ '\\N{DASH}' }}", "characters by name"},
        {"{{ 99999999999999999999 }}", "T: line 1, column 4: this integer does not fit in 64 bits"},
        {"{{ 9223372036854775807 + 1 }}", "integer overflow in +"},
        {"{{ 2 ** 63 }}", "integer overflow in **"},
        {"{{ 3037000500 * 3037000500 }}", "integer overflow in *"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "integer overflow"},
        {"{{ -(-9223372036854775807 - 1) }}", "integer overflow"},
        {"{{ (-9223372036854775807 - 1)|abs }}", "integer overflow"},
        {"{{ (-8) ** 0.5 }}", "complex numbers are not supported"},
        {"{{ 1e30|int }}", "does not fit in 64 bits"},
        {"\xff", "T: line 1, column 1: byte 0xff is not UTF-8"},
        {"ab\n\xc3", "T: line 2, column 1: byte 0xc3 is not UTF-8"},
        {"\xed\xa0\x80", "is not UTF-8"},
        {"{{ nope.x }}", "T: line 1, column 8: 'nope' is undefined"},
        {"{{ a.b.c.d }}", "T: line 1, column 5: 'a' is undefined"},
        {"{{ 1|frob }}", "T: line 1, column 6: no filter named 'frob'"},
        {"{{ 1 is frob }}", "T: line 1, column 9: no test named 'frob'"},
        {"{{ 'x'.upper(1, 2) }}", "upper takes at most 0 argument(s), not 2"},
        {"{{ 'x'|replace('a') }}", "replace needs the argument 'new'"},
        {"{{ 'x'|trim(frob=1) }}", "trim takes no keyword argument 'frob'"},
        {"{{ 'x'|trim('a', chars='b') }}", "trim takes no second argument 'chars'"},
        {"{{ frob('x') }}", "'frob' is undefined, so it cannot be called"},
        {"{% set x.y = 1 %}", "cannot assign attribute on non-namespace object"},
        {"\n\n  {{ raise_exception('Bad \\'role\\': %s%n') }}", "T: line 3, column 21: Bad 'role': %s%n"},
        {"{% include 'x' %}", "T: line 1, column 4: expected a statement"},
        {"{{ x.__class__.__mro__ }}", "is undefined"},
        {"{{ ''.__class__.x }}", "'__class__' is undefined"},
        {"{{ range.__globals__['x'] }}", "'__globals__' is undefined"},
        {"{{ cycler.__init__.__globals__.os.popen('id').read() }}", "'__init__' is undefined"},
    };
    json_t *variables = json_pack("{s:s}", "x", "y");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(cases[i].source, strlen(cases[i].source), variables, NULL, cases[i].message);
    json_decref(variables);
}

/* Templates that would run, recurse or grow without end. */
static void test_limits(void **state)
{
    static const struct {
        const char *source, *message;
    } cases[] = {
        {"{{ 'x' * 1000000000000 }}", "a string is longer than"},
        {"{{ 'x' * 9223372036854775807 }}", "a string is longer than"},
        {"{{ [1] * 1000000000 }}", "MiB of memory"},
        {"{{ range(10**12) }}", "range() of more than 100000 items"},
        {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "more than"},
        {"{% set n = namespace(s='x') %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}", "memory"},
        {"{% set n = namespace(s=[1]) %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}", "memory"},
        {"{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s|replace('a', 'aa') %}{% endfor %}",
         "than"},
        {"{% set n = namespace(s='') %}{% for i in range(99999) %}{% set n.s = n.s ~ 'xxxxxxxxxx' %}{% endfor %}",
         "memory"},
        {"{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "the output is longer than 16777216 bytes"},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper than 200 levels"},
        {"{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper than 200 levels"},
        {"{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{{ caller }}{% endmacro %}{{ f() }}", "deeper"},
        {"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested deeper than 200 levels"},
        {"{% set a = [] %}{% set _ = a.append(a) %}{{ a }}", "nested deeper"},
        {"{% set a = [] %}{% set _ = a.append(a) %}{{ a|tojson }}", "nested deeper"},
        {"{% set a = [] %}{% set _ = a.append(a) %}{{ a == [a] }}", "nested deeper"},
        {"{% set a = [] %}{% set b = [] %}{% set _ = a.append(b) %}{% set _ = b.append(a) %}{{ a < b }}", "deeper"},
        {"{% set n = namespace(a=(1,)) %}{% for i in range(999) %}{% set n.a = (n.a,) %}{% endfor %}{{ {n.a: 1} }}",
         "nested deeper"},
        {"{{ '%1000000000d' % 1 }}", "a width of more than"},
        {"{{ '%*d' % (1000000000, 1) }}", "a width of more than"},
        {"{{ '%.1000000f' % 1 }}", "a precision of more than"},
        {"{{ '{:1000000000}'.format(1) }}", "a width of more than"},
        {"{{ '{:.401f}'.format(1) }}", "a precision of more than"},
        {"{{ 'x'.ljust(10**12) }}", "a string is longer than"},
        {"{{ 'x'|center(10**12) }}", "a string is longer than"},
        {"{{ 'a'|indent(10**12, true) }}", "a string is longer than"},
        {"{{ [1]|batch(10**12, 0)|list }}", "than"},
        {"{{ [1]|slice(10**12)|list }}", "than"},
        {"{{ strftime_now('%9999999d') }}", "strftime_now: the result is longer"},
        {"{{ (('[' * 5000) ~ (']' * 5000))|from_json }}", "from_json: maximum parsing depth reached"},
        {"{{ (('[' * 500) ~ (']' * 500))|from_json }}", "nested deeper than 200 levels"},
        {"{{ ('1' * 5000000)|from_json }}", "from_json: more than"},
        {"{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{% if a ~ 'b' == a %}{% endif %}{% endfor %}",
         "memory"},
        {"{% set a = 'a' * 9000000 %}{% for i in range(100000) %}{% if a|length %}{% endif %}{% endfor %}", "steps"},
        {"{% set a = 'a' * 9000000 %}{% for i in range(100000) %}{% if 'b' in a %}{% endif %}{% endfor %}", "steps"},
        {"{% set a = 'a' * 9000000 %}{% for i in range(100000) %}{% if a.rfind('b') %}{% endif %}{% endfor %}",
         "steps"},
        {"{% set a = ' ' * 9000000 %}{% for i in range(100000) %}{% if a.isspace() %}{% endif %}{% endfor %}", "steps"},
        {"{% set a = ' ' * 9000000 %}{% for i in range(100000) %}{% if a|trim %}{% endif %}{% endfor %}", "steps"},
        {"{% set a = ' ' * 9000000 %}{% for i in range(100000) %}{% if a.split() %}{% endif %}{% endfor %}", "steps"},
        {"{% set a = 'a' * 4000000 %}{{ (a ~ 'b' ~ a ~ a).rfind(a ~ a ~ 'c') }}", "steps"},
        {"{% set d = dict() %}{% set l = range(100000)|map('string')|list %}{{ l|unique|list|length }}", "steps"},
        {"{% for i in range(100000) %}{% for x in range(100000)|list|sort %}{% endfor %}{% endfor %}", "than"},
    };
    json_t *variables = json_object();
    uint64_t slowest = 0;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t begin = cpu_ms();
        expect_error(cases[i].source, strlen(cases[i].source), variables, NULL, cases[i].message);
        uint64_t took = cpu_ms() - begin;
        if (took > slowest) slowest = took;
    }
    printf("chat templates: the slowest of %zu endless ones was stopped after %ju ms\n", sizeof cases / sizeof *cases,
           (uintmax_t)slowest);
    json_decref(variables);
}

/* Source that nests, or chains, without end: the parser must not follow. */
static void test_nesting(void **state)
{
    static const struct {
        const char *begin, *repeated;
    } cases[] = {
        {"{{ ", "("},
        {"{{ ", "["},
        {"{{ ", "{1:"},
        {"{{ ", "f("},
        {"{{ ", "f["},
        {"{{ ", "not "},
        {"{{ ", "-"},
        {"{{ ", "+"},
        {"{{ 1", "|abs"},
        {"{{ 1", "|f(1"},
        {"{{ 1", ".a"},
        {"{{ 1", "[0]"},
        {"{{ 1", "()"},
        {"{{ 1", " + 1"},
        {"{{ 1", " ** 1"},
        {"{{ 1", " and 1"},
        {"{{ 1", " or 1"},
        {"{{ 1", " is odd()"},
        {"{{ 1", " if 1"},
        {"{{ 1", " if 1 else 1"},
        {"{% set ", "("},
        {"{% for ", "("},
        {"", "{% if 1 %}"},
        {"", "{% if 1 %}{% else %}"},
        {"", "{% for x in y %}"},
        {"", "{% for x in y %}{% else %}"},
        {"", "{% macro f() %}"},
        {"", "{% call f() %}"},
        {"", "{% set x %}"},
        {"{% set x ", "|f"},
        {"", "{% filter upper %}"},
        {"{% filter f", "|f"},
        {"", "{% with %}"},
        {"", "{% generation %}"},
    };
    json_t *variables = json_object();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b = {0};
        buffer_string(&b, cases[i].begin);
        for (int k = 0; k < 20000; k++)
            buffer_string(&b, cases[i].repeated);
        expect_error(b.data, b.n, variables, NULL, "deeper than 200");
        buffer_free(&b);
    }
    json_decref(variables);
}

/* Limits of the caller, variables that nest, and sources too long. */
static void test_callers_limits(void **state)
{
    static const char loop[] = "{% for a in range(100) %}ab{% endfor %}",
                      recursion[] = "{% macro f(n) %}{{ f(n - 1)"
                                    " if n else 'end' }}{% endmacro %}{{ f(n) }}";
    struct chat_limits steps = {.steps_max = 50}, output = {.output_bytes_max = 199},
                       enough = {.output_bytes_max = 200};
    struct chat_limits deep = {.depth_max = 1000000};
    struct chat_template *tpl = NULL;
    struct chat_text text = {0};
    struct stile_error error;
    json_t *variables = json_pack("{s:i}", "n", 200), *nested = json_integer(1);
    (void)state;
    expect_error(loop, sizeof loop - 1, variables, &steps, "the template takes more than 50 steps");
    expect_error(loop, sizeof loop - 1, variables, &output, "the output is longer than 199 bytes");
    assert_int_equal(chat_template_compile(&tpl, "T", loop, sizeof loop - 1, &error), STILE_OK);
    assert_int_equal(chat_template_render(tpl, variables, NULL, &enough, &text, &error), STILE_OK);
    assert_int_equal(text.n, 200);
    chat_text_free(&text);
    chat_template_free(tpl);

    /* the depth is the caller's choice up to what the stack holds */
    expect_error(recursion, sizeof recursion - 1, variables, NULL, "nested deeper than 200 levels");
    assert_int_equal(chat_template_compile(&tpl, "T", recursion, sizeof recursion - 1, &error), STILE_OK);
    assert_int_equal(chat_template_render(tpl, variables, NULL, &deep, &text, &error), STILE_OK);
    assert_string_equal(text.text, "end");
    chat_text_free(&text);
    json_object_set_new(variables, "n", json_integer(100000));
    assert_int_equal(chat_template_render(tpl, variables, NULL, &deep, &text, NULL), STILE_ERROR_TEMPLATE);
    assert_int_equal(chat_template_render(tpl, nested, NULL, &deep, &text, &error), STILE_ERROR_ARGUMENT);
    chat_template_free(tpl);

    for (int i = 0; i < 1500; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, nested);
        nested = outer;
    }
    json_object_set_new(variables, "nested", nested);
    expect_error("{{ nested }}", 12, variables, NULL, "nested deeper than 200 levels");

    char *source = malloc((1 << 20) + 1);
    assert_non_null(source);
    memset(source, 'x', (1 << 20) + 1);
    expect_error(source, (1 << 20) + 1, variables, NULL,
                 "T: line 1, column 1: the template is longer than 1048576 bytes");
    free(source);
    json_decref(variables);
    chat_template_free(NULL);
    chat_text_free(NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1) golden_dir = argv[1];
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_origins), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_nesting), cmocka_unit_test(test_callers_limits),
    };
    return cmocka_run_group_tests_name("text/chat", tests, NULL, NULL);
}
