/* Values as text: Python's str and repr, and JSON as json.dumps writes it. */
#include "text/jinja_eval.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t jinja_float_text(double x, char out[FLOAT_TEXT_BYTES])
{
    if (isnan(x)) return (size_t)snprintf(out, FLOAT_TEXT_BYTES, "nan");
    if (isinf(x)) return (size_t)snprintf(out, FLOAT_TEXT_BYTES, x < 0 ? "-inf" : "inf");
    char scientific[FLOAT_TEXT_BYTES], digits[24];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(scientific, sizeof scientific, "%.*e", precision, fabs(x));
        if (strtod(scientific, NULL) == fabs(x)) break;
    }
    int exponent = atoi(strchr(scientific, 'e') + 1), n = 0;
    for (const char *c = scientific; *c != 'e'; c++)
        if (*c != '.') digits[n++] = *c;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    const char *sign = signbit(x) ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        return (size_t)snprintf(out, FLOAT_TEXT_BYTES, "%s%c%s%.*se%c%02d", sign, digits[0], n > 1 ? "." : "", n - 1,
                                digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    if (exponent < 0)
        return (size_t)snprintf(out, FLOAT_TEXT_BYTES, "%s0.%.*s%.*s", sign, -exponent - 1, "000", n, digits);
    if (n <= exponent + 1)
        return (size_t)snprintf(out, FLOAT_TEXT_BYTES, "%s%.*s%.*s.0", sign, n, digits, exponent + 1 - n,
                                "0000000000000000");
    return (size_t)snprintf(out, FLOAT_TEXT_BYTES, "%s%.*s.%.*s", sign, exponent + 1, digits, n - exponent - 1,
                            digits + exponent + 1);
}

static void print_number(struct builder *b, struct value v)
{
    char text[FLOAT_TEXT_BYTES];
    size_t n = v.kind == JINJA_FLOAT ? jinja_float_text(v.as.real, text)
                                     : (size_t)snprintf(text, sizeof text, "%jd", (intmax_t)v.as.integer);
    builder_bytes(b, text, n, 0);
}

/* A character as \xNN, \uNNNN or \UNNNNNNNN. */
static void print_code(struct builder *b, uint32_t c, unsigned char mark)
{
    char text[12];
    int n = snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    builder_bytes(b, text, (size_t)n, mark);
}

static void repr_string(struct builder *b, const struct string *s)
{
    bool has_single = memchr(s->bytes, '\'', s->n), has_double = memchr(s->bytes, '"', s->n);
    const char *quote = has_single && !has_double ? "\"" : "'";
    if (s->safe) builder_text(b, "Markup(");
    builder_text(b, quote);
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        size_t n = utf8_decode(s->bytes + at, s->n - at, &c);
        unsigned char mark = string_mark(s, at);
        char escape[2] = {'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : (char)c};
        if (c == '\\' || c == (uint32_t)*quote || c == '\n' || c == '\r' || c == '\t')
            builder_bytes(b, escape, 2, mark);
        else if (unicode_is_printable(c))
            builder_slice(b, s, at, at + n);
        else
            print_code(b, c, mark);
        at += n;
    }
    builder_text(b, quote);
    if (s->safe) builder_text(b, ")");
}

static void repr(struct builder *b, struct value v);

static void repr_items(struct builder *b, const char *open, const struct list *list, const char *close)
{
    builder_text(b, open);
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0) builder_text(b, ", ");
        repr(b, list->items[i]);
    }
    builder_text(b, close);
}

static void repr_dict(struct builder *b, const struct dict *dict)
{
    builder_text(b, "{");
    for (size_t i = 0; i < dict->n; i++) {
        if (i > 0) builder_text(b, ", ");
        repr(b, dict->pairs[i].key);
        builder_text(b, ": ");
        repr(b, dict->pairs[i].value);
    }
    builder_text(b, "}");
}

static void repr_range(struct builder *b, const struct range *range)
{
    char text[80];
    int n = range->step == 1
                ? snprintf(text, sizeof text, "range(%jd, %jd)", (intmax_t)range->start, (intmax_t)range->stop)
                : snprintf(text, sizeof text, "range(%jd, %jd, %jd)", (intmax_t)range->start, (intmax_t)range->stop,
                           (intmax_t)range->step);
    builder_bytes(b, text, (size_t)n, 0);
}

static void repr_view(struct builder *b, struct value v)
{
    static const char *const open[] = {"dict_keys([", "dict_values([", "dict_items(["};
    struct list items = jinja_items(b->j, v);
    repr_items(b, open[v.as.view->kind], &items, "])");
}

static void repr_compound(struct builder *b, struct value v)
{
    switch (v.kind) {
    case JINJA_LIST: repr_items(b, "[", v.as.list, "]"); break;
    case JINJA_TUPLE: repr_items(b, "(", v.as.list, v.as.list->n == 1 ? ",)" : ")"); break;
    case JINJA_DICT: repr_dict(b, v.as.dict); break;
    case JINJA_VIEW: repr_view(b, v); break;
    case JINJA_NAMESPACE:
        builder_text(b, "<Namespace ");
        repr_dict(b, v.as.dict);
        builder_text(b, ">");
        break;
    case JINJA_MACRO:
        builder_text(b, "<Macro ");
        repr_string(b, v.as.macro->node->text);
        builder_text(b, ">");
        break;
    default: /* Python prints an address here, which no template can mean */
        builder_text(b, "<");
        builder_text(b, jinja_type_name(v));
        builder_text(b, ">");
    }
}

static void repr(struct builder *b, struct value v)
{
    jinja_charge(b->j, 1);
    switch (v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED: builder_text(b, "Undefined"); break;
    case JINJA_NONE: builder_text(b, "None"); break;
    case JINJA_BOOL: builder_text(b, v.as.truth ? "True" : "False"); break;
    case JINJA_INT:
    case JINJA_FLOAT: print_number(b, v); break;
    case JINJA_STRING: repr_string(b, v.as.string); break;
    case JINJA_RANGE: repr_range(b, v.as.range); break;
    default:
        jinja_enter(b->j);
        repr_compound(b, v);
        jinja_leave(b->j);
    }
}

void jinja_print(struct builder *b, struct value v)
{
    if (v.kind == JINJA_STRING)
        builder_string(b, v.as.string);
    else if (v.kind != JINJA_UNDEFINED)
        repr(b, v);
}

const struct string *jinja_str(struct jinja *j, struct value v)
{
    struct builder b = {.j = j};
    if (v.kind == JINJA_STRING) return v.as.string;
    jinja_print(&b, v);
    return builder_finish(&b);
}

const struct string *jinja_repr(struct jinja *j, struct value v)
{
    struct builder b = {.j = j};
    repr(&b, v);
    return builder_finish(&b);
}

/* ---- JSON ---- */

static void dump_code(struct builder *b, uint32_t unit, unsigned char mark)
{
    char text[8];
    builder_bytes(b, text, (size_t)snprintf(text, sizeof text, "\\u%04x", unit), mark);
}

static void dump_string(struct builder *b, const struct string *s, bool ascii)
{
    static const char letters[] = "\"\\\n\r\t\f\b", escapes[] = "\"\\nrtfb";
    builder_text(b, "\"");
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        size_t n = utf8_decode(s->bytes + at, s->n - at, &c);
        unsigned char mark = string_mark(s, at);
        const char *letter = c > 0 && c < 0x80 ? strchr(letters, (int)c) : NULL;
        if (letter) {
            char escape[2] = {'\\', escapes[letter - letters]};
            builder_bytes(b, escape, 2, mark);
        } else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000)) {
            dump_code(b, c, mark);
        } else if (ascii && c >= 0x10000) { /* a surrogate pair */
            dump_code(b, 0xd800 + ((c - 0x10000) >> 10), mark);
            dump_code(b, 0xdc00 + ((c - 0x10000) & 0x3ff), mark);
        } else {
            builder_slice(b, s, at, at + n);
        }
        at += n;
    }
    builder_text(b, "\"");
}

static void dump_newline(struct builder *b, const struct json_style *style, unsigned level)
{
    if (!style->indent) return;
    builder_text(b, "\n");
    builder_repeat(b, style->indent, level);
}

static void dump_scalar(struct builder *b, struct value v, const struct json_style *style)
{
    switch (v.kind) {
    case JINJA_NONE: builder_text(b, "null"); break;
    case JINJA_BOOL: builder_text(b, v.as.truth ? "true" : "false"); break;
    case JINJA_STRING: dump_string(b, v.as.string, style->ascii); break;
    case JINJA_INT: print_number(b, v); break;
    case JINJA_FLOAT:
        if (isnan(v.as.real))
            builder_text(b, "NaN");
        else if (isinf(v.as.real))
            builder_text(b, v.as.real < 0 ? "-Infinity" : "Infinity");
        else
            print_number(b, v);
        break;
    case JINJA_UNDEFINED:
        jinja_fail(b->j, "'%.*s' is undefined, so it has no JSON form", v.as.string ? (int)v.as.string->n : 5,
                   v.as.string ? v.as.string->bytes : "value");
    default: jinja_fail(b->j, "a '%s' has no JSON form", jinja_type_name(v));
    }
}

static void dump_key(struct builder *b, struct value key, const struct json_style *style)
{
    if (key.kind != JINJA_STRING && key.kind != JINJA_NONE && !jinja_is_number(key))
        jinja_fail(b->j, "a '%s' cannot be a key in JSON", jinja_type_name(key));
    if (key.kind != JINJA_STRING) builder_text(b, "\"");
    dump_scalar(b, key, style);
    if (key.kind != JINJA_STRING) builder_text(b, "\"");
    builder_string(b, style->key_separator);
}

static void dump(struct builder *b, struct value v, const struct json_style *style, unsigned level);

static void dump_compound(struct builder *b, struct value v, const struct json_style *style, unsigned level)
{
    bool is_dict = v.kind == JINJA_DICT;
    struct value items = v;
    if (is_dict) {
        items = jinja_view(b->j, v.as.dict, VIEW_ITEMS);
        if (style->sort_keys) items = jinja_sort_pairs(b->j, items);
    }
    struct list list = jinja_items(b->j, items);
    builder_text(b, is_dict ? "{" : "[");
    for (size_t i = 0; i < list.n; i++) {
        if (i > 0) builder_string(b, style->item_separator);
        dump_newline(b, style, level + 1);
        if (is_dict) dump_key(b, list.items[i].as.list->items[0], style);
        dump(b, is_dict ? list.items[i].as.list->items[1] : list.items[i], style, level + 1);
    }
    if (list.n > 0) dump_newline(b, style, level);
    builder_text(b, is_dict ? "}" : "]");
}

static void dump(struct builder *b, struct value v, const struct json_style *style, unsigned level)
{
    jinja_charge(b->j, 1);
    if (v.kind != JINJA_LIST && v.kind != JINJA_TUPLE && v.kind != JINJA_DICT) {
        dump_scalar(b, v, style);
        return;
    }
    jinja_enter(b->j);
    dump_compound(b, v, style, level);
    jinja_leave(b->j);
}

void jinja_dump(struct builder *b, struct value v, const struct json_style *style)
{
    dump(b, v, style, 0);
}
