/* Fuzzes chat templates: compiles any bytes, and if that succeeds, renders them with a conversation.
 *
 * A libFuzzer target whose own mutator joins pieces of templates; compiled with -DFUZZ_MAIN a program that makes
 * templates of those pieces in a fixed sequence of random ways.
 */
#include "text/jinja_render.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES_MAX = 4096, EXECUTIONS = 50000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char variables_json[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be <b>\"}, {\"role\": \"user\", \"content\": \"Hi ünï 😀 "
    "ß\"},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\":"
    " {\"x\": [1, 2.5, \"y\"], \"z\": {}}}}]}], \"s\": \" a,b-C\\n\\td \", \"n\": 7, \"m\": -3, \"f\": 2.5, \"t\": "
    "true,"
    " \"x\": null, \"l\": [3, 1, 2], \"w\": [\"b\", \"A\", \"a\"], \"d\": {\"b\": 1, \"a\": \"2\"}, \"e\": \"\","
    " \"bos_token\": \"<s>\"}";

static void check(bool right, const char *what)
{
    if (right) return;
    fprintf(stderr, "fuzz_chat: %s\n", what);
    abort();
}

static void check_text(const struct chat_text *text)
{
    size_t at = 0;
    for (size_t i = 0; i < text->n_segments; i++) {
        check(text->segments[i].begin == at && text->segments[i].end > at, "segments that do not tile the text");
        check(i == 0 || text->segments[i].from_variables != text->segments[i - 1].from_variables,
              "neighbours of the same origin");
        at = text->segments[i].end;
    }
    check(at == text->n && text->text[at] == '\0', "segments that do not end with the text");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const trusted[] = {"bos_token", NULL};
    static const struct chat_limits limits = {.steps_max = 50000, .output_bytes_max = 1 << 16};
    struct chat_template *tpl = NULL;
    struct chat_text text = {0};
    struct stile_error error = {0};
    json_t *variables = json_loads(variables_json, 0, NULL);
    check(variables != NULL, "the conversation is no JSON");
    int code = chat_template_compile(&tpl, "fuzz", (const char *)data, n, &error);
    if (code == STILE_OK) code = jinja_render(tpl, variables, trusted, &limits, 1772600767, &text, &error);
    if (code == STILE_OK)
        check_text(&text);
    else
        check(error.code == code && strncmp(error.message, "fuzz: line ", 11) == 0, "an error without a place");
    check(code == STILE_OK || text.text == NULL, "a text in spite of the error");
    chat_text_free(&text);
    chat_template_free(tpl);
    json_decref(variables);
    return 0;
}

static const char *const pieces[] = {
    "{% for m in messages %}{{ m.role ~ ': ' ~ m['content'] }}{% endfor %}",
    "{% if t and not x %}a{% elif n > 2 %}b{% else %}c{% endif %}",
    "{% set ns = namespace(a=1, b=[]) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% macro f(a, b=2, *c) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}",
    "{% macro g(a, b=2) %}{{ a }}{{ caller(a) if caller }}{% endmacro %}{% call(q) g(1, b=3) %}{{ q }}{% endcall %}",
    "{% for k, v in d.items() if v %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{{ loop.nextitem }}{% endfor %}",
    "{% for i in [1, [2, [3]]] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}",
    "{% set a %}x{{ s }}{% endset %}{{ a|upper }}",
    "{% filter indent(2)|trim %}a\nb{% endfilter %}",
    "{% with a = 1, b = l %}{{ a }}{{ b }}{% endwith %}",
    "{% raw %}{{ x }}{% endraw %}{# c #}{%- generation -%}y{%- endgeneration +%}",
    "{{ s.split(',')[1:] }}{{ s.rsplit(none, 1) }}{{ s.partition('-') }}{{ s.splitlines(true) }}",
    "{{ s.replace('a', s, 2).strip(' a').title().find('b', -3) }}{{ 'x'.join(w) }}{{ s.zfill(20).center(30, '*') }}",
    "{{ '%5.2f|%-6s|%(a)s|%x|%r' % (f, s, n) }}{{ '%(a)s' % d }}{{ '{:>{w}} {0!r:^9} {a[0]}'.format(s, w=9, a=l) }}",
    "{{ '{:+08.3e},{:#x},{:_},{:%}'.format(f, n, 123456789, f) }}",
    "{{ l|sort(reverse=true)|map('string')|join(', ') }}{{ w|unique|list }}{{ w|groupby(0) }}{{ l|batch(2, 0)|list }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|first|default('none', true) }}",
    "{{ messages|tojson(indent=2, sort_keys=true) }}{{ d|tojson(separators=(',', ':')) }}{{ messages }}",
    "{{ '[1, {\"a\": null}]'|from_json }}{{ s|truncate(3, true, '', 0) }}{{ s|e|safe + '<' }}",
    "{{ n // m }}{{ n % m }}{{ n ** 2 }}{{ f / m }}{{ -n|abs }}{{ f|round(1, 'ceil') }}{{ '12'|int(base=3) }}",
    "{{ s[::-1] }}{{ s[-3:1:-2] }}{{ l[1:][0] }}{{ (1, 2)[5] }}{{ d['a'] }}{{ messages[-1].tool_calls }}",
    "{{ range(3, 9, 2)|list }}{{ dict(a=1, **d) }}{{ cycler(1, 2).next() }}{{ joiner(',')() }}{{ strftime_now('%Y') }}",
    "{{ raise_exception('no') }}{% break %}{% continue %}{% print 1, 2 %}{% include 'x' %}",
    "{{ 1 < n <= 9 != 3 in l not in w is defined is none }}{{ x if t else s if e }}{{ l is sequence and s is string }}",
    "{{ l.append(l) }}{{ l }}{{ l == [l] }}{{ l|tojson }}{{ d.pop('a') }}{{ l.pop(0) }}",
    "\"\\x41\\u00e9\\n\" 'a' 'b' 1_0.5e-3 0x1F 0b1 1e999 {1: 2, 'a': [(), (1,)]}",
    "{% for i in range(99999) %}{{ i * 'x' }}{% endfor %}",
    "{% macro r(n) %}{{ r(n + 1) }}{% endmacro %}{{ r(0) }}",
};

static const char *const tokens[] = {
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    "+",
    "*",
    "**",
    "/",
    "//",
    "%",
    "~",
    "|",
    ".",
    ",",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "=",
    "==",
    "!=",
    "<",
    ">=",
    "'",
    "\"",
    "\\",
    "\n",
    " ",
    "is ",
    "in ",
    "not ",
    "and ",
    "or ",
    "if ",
    "else ",
    "none",
    "true",
    "loop",
    "messages",
    "s",
    "n",
    "l",
    "d",
    "x",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "1e308",
    "0.5",
    "{%- ",
    " -%}",
    "endif",
    "endfor",
    "set ",
    "for ",
    "macro ",
    "caller()",
    "|list",
    "|length",
    "|upper",
    "|tojson",
    "|map('upper')",
    "|select",
    "|join",
    "|int",
    "|float",
    "|round",
    "|string",
    "|safe",
    ".items()",
    ".upper()",
    ".split()",
    "[::-1]",
    "[1:]",
    "range(9)",
    "namespace(",
    "\xc3\xa9",
    "\xf0\x9f\x98\x80",
    "\xff",
    "é",
};

static uint64_t random_state = 88172645463325252u;

static size_t random_below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return n == 0 ? 0 : (size_t)(random_state % n);
}

/* Puts bytes into data at `at`, as many as fit. */
static size_t insert(char *data, size_t n, size_t max, size_t at, const char *bytes, size_t n_bytes)
{
    if (n_bytes > max - n) n_bytes = max - n;
    memmove(data + at + n_bytes, data + at, n - at);
    memcpy(data + at, bytes, n_bytes);
    return n + n_bytes;
}

static size_t mutate(char *data, size_t n, size_t max)
{
    size_t at = random_below(n + 1), width = random_below(24);
    char copy[24];
    const char *piece;
    if (width > n - at) width = n - at;
    switch (random_below(6)) {
    case 0:
        piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
        return insert(data, n, max, at, piece, strlen(piece));
    case 1:
    case 2:
        piece = tokens[random_below(sizeof tokens / sizeof *tokens)];
        return insert(data, n, max, at, piece, strlen(piece));
    case 3: /* take some out */ memmove(data + at, data + at + width, n - at - width); return n - width;
    case 4: /* some of it once more, elsewhere */
        memcpy(copy, data + at, width);
        return insert(data, n, max, random_below(n + 1), copy, width);
    default:
        if (n > 0) data[random_below(n)] ^= (char)(1 << random_below(8));
        return n;
    }
}

#ifdef FUZZ_MAIN

int main(void)
{
    static char bytes[TEMPLATE_BYTES_MAX];
    for (int i = 0; i < EXECUTIONS; i++) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
        size_t n = insert(bytes, 0, sizeof bytes, 0, piece, strlen(piece));
        for (size_t left = random_below(8); left > 0; left--)
            n = mutate(bytes, n, sizeof bytes);
        uint8_t *exact = malloc(n + (n == 0)); /* so that the sanitizer sees the first byte behind it */
        if (!exact) return 1;
        memcpy(exact, bytes, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    printf("fuzz_chat: %d executions from %zu pieces\n", EXECUTIONS, sizeof pieces / sizeof *pieces);
    return 0;
}

#else

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    random_state = (seed + 1) * 0x9e3779b97f4a7c15u;
    if (random_below(4) == 0) return LLVMFuzzerMutate(data, n, max);
    if (max > TEMPLATE_BYTES_MAX) max = TEMPLATE_BYTES_MAX;
    return mutate((char *)data, n < max ? n : max, max);
}

#endif
