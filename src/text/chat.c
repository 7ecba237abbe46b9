#include "text/chat.h"
#include "text/jinja_eval.h"
#include "text/jinja_render.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS_DEFAULT = 10 * 1000 * 1000, OUTPUT_DEFAULT = 16 << 20 };

struct chat_template {
    struct jinja state; /* of the compilation: its arena holds the tree */
    struct symbols symbols;
    struct node *body;
};

/* Numbers and dates are written in the C locale, whatever the program around uses. */
static locale_t enter_locale(locale_t *before)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    *before = c ? uselocale(c) : (locale_t)0;
    return c;
}

static void leave_locale(locale_t c, locale_t before)
{
    if (!c) return;
    uselocale(before);
    freelocale(c);
}

static int parse(struct chat_template *tpl, const char *source, size_t n)
{
    if (setjmp(tpl->state.escape)) return tpl->state.code;
    tpl->body = jinja_parse(&tpl->state, &tpl->symbols, source, n);
    return STILE_OK;
}

int chat_template_compile(struct chat_template **tpl, const char *name, const char *source, size_t n,
                          struct stile_error *error)
{
    struct stile_error unused;
    struct chat_template *t = calloc(1, sizeof *t);
    if (!t) return error_memory(error, sizeof *t, "a chat template");
    t->state = (struct jinja){.error = error ? error : &unused,
                              .name = name,
                              .memory_max = JINJA_MEMORY_MAX,
                              .steps_max = UINT64_MAX,
                              .depth_max = JINJA_DEPTH_MAX};
    locale_t before, c = enter_locale(&before);
    int code = parse(t, source, n);
    leave_locale(c, before);
    if (code == STILE_OK) {
        t->state.name = arena_string(&t->state.arena, name, strlen(name));
        t->state.error = NULL;
        if (!t->state.name) code = error_memory(error, strlen(name), "a chat template");
    }
    if (code == STILE_OK)
        *tpl = t;
    else
        chat_template_free(t);
    return code;
}

void chat_template_free(struct chat_template *tpl)
{
    if (!tpl) return;
    arena_free(&tpl->state.arena);
    free(tpl);
}

/* Gives the caller the text and the runs of equal origin. */
static int hand_over(const struct builder *b, struct chat_text *text, struct stile_error *error)
{
    size_t n_segments = b->n > 0;
    for (size_t i = 1; b->marks && i < b->n; i++)
        n_segments += b->marks[i] != b->marks[i - 1];
    struct chat_text out = {.n = b->n, .n_segments = n_segments};
    out.text = malloc(b->n + 1);
    out.segments = calloc(n_segments + 1, sizeof *out.segments);
    if (!out.text || !out.segments) {
        chat_text_free(&out);
        return error_memory(error, b->n, "the text of a chat");
    }
    if (b->n > 0) memcpy(out.text, b->bytes, b->n);
    out.text[b->n] = '\0';
    for (size_t begin = 0, end, i = 0; begin < b->n; begin = end, i++) {
        unsigned char mark = b->marks ? b->marks[begin] : b->mark;
        for (end = b->marks ? begin + 1 : b->n; end < b->n && b->marks[end] == mark;)
            end++;
        out.segments[i] = (struct chat_segment){begin, end, mark != 0};
    }
    *text = out;
    return STILE_OK;
}

static int run(struct jinja *j, const struct chat_template *tpl, struct builder *out)
{
    if (setjmp(j->escape)) return j->code;
    j->globals = jinja_alloc(j, tpl->symbols.n, sizeof *j->globals);
    jinja_run(j, tpl->body, out);
    return STILE_OK;
}

int jinja_render(const struct chat_template *tpl, const json_t *variables, const char *const *trusted,
                 const struct chat_limits *limits, int64_t now, struct chat_text *text, struct stile_error *error)
{
    struct stile_error unused;
    struct chat_limits l = limits ? *limits : (struct chat_limits){0};
    struct jinja j = {.error = error ? error : &unused,
                      .name = tpl->state.name,
                      .memory_max = JINJA_MEMORY_MAX,
                      .steps_max = l.steps_max ? l.steps_max : STEPS_DEFAULT,
                      .depth_max = l.depth_max ? l.depth_max : JINJA_DEPTH_MAX,
                      .now = now,
                      .variables = variables,
                      .trusted = trusted,
                      .symbols = &tpl->symbols};
    if (!json_is_object(variables))
        return error_set(error, STILE_ERROR_ARGUMENT, "%s: the variables are not a JSON object", j.name);
    if (j.depth_max > JINJA_DEPTH_CEILING) j.depth_max = JINJA_DEPTH_CEILING;
    struct builder out = {.j = &j, .limit = l.output_bytes_max ? l.output_bytes_max : OUTPUT_DEFAULT};
    locale_t before, c = enter_locale(&before);
    int code = run(&j, tpl, &out);
    leave_locale(c, before);
    if (code == STILE_OK) code = hand_over(&out, text, error);
    json_decref(j.parsed);
    arena_free(&j.arena);
    return code;
}

int chat_template_render(const struct chat_template *tpl, const json_t *variables, const char *const *trusted,
                         const struct chat_limits *limits, struct chat_text *text, struct stile_error *error)
{
    return jinja_render(tpl, variables, trusted, limits, (int64_t)time(NULL), text, error);
}

void chat_text_free(struct chat_text *text)
{
    if (!text) return;
    free(text->text);
    free(text->segments);
    *text = (struct chat_text){0};
}
