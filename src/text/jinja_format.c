/* Python's two ways to format: "%s" % x and "{}".format(x). */
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION_MAX = 400 };

/* One conversion, whichever way it was written. */
struct spec {
    const struct string *fill; /* one character */
    char align;                /* '<' '>' '^' '=', 0: by kind */
    char sign;                 /* '+' ' ', 0: only minus */
    bool alternate;            /* # */
    char grouping;             /* ',' '_', 0: none */
    int64_t width;
    int precision; /* -1: none */
    char type;     /* 0: by kind */
};

static const struct string space = {.bytes = " ", .n = 1}, zero = {.bytes = "0", .n = 1};

/* Reads digits at *at; -1 when there are none. */
static int64_t read_number(struct jinja *j, const struct string *s, size_t *at)
{
    int64_t n = -1;
    for (; *at < s->n && s->bytes[*at] >= '0' && s->bytes[*at] <= '9'; (*at)++) {
        n = (n < 0 ? 0 : n * 10) + (s->bytes[*at] - '0');
        if (n > JINJA_WIDTH_MAX) jinja_fail(j, "a width of more than %d in a format", JINJA_WIDTH_MAX);
    }
    return n;
}

/* `text` in a field; the first `n_prefix` bytes (sign, 0x) stay left of the padding for '='. */
static void pad(struct builder *b, const struct spec *spec, const struct string *text, size_t n_prefix, char align)
{
    int64_t n = (int64_t)unicode_length(text), missing = spec->width > n ? spec->width - n : 0;
    int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    jinja_charge(b->j, text->n / 64);
    if (align == '=') builder_slice(b, text, 0, n_prefix);
    builder_repeat(b, spec->fill, left);
    builder_slice(b, text, align == '=' ? n_prefix : 0, text->n);
    builder_repeat(b, spec->fill, missing - left);
}

static void pad_text(struct builder *b, const struct spec *spec, const struct string *text, char align)
{
    if (spec->precision >= 0) text = string_slice(b->j, text, 0, unicode_offset(text, (size_t)spec->precision));
    pad(b, spec, text, 0, spec->align ? spec->align : align);
}

/* Puts the separator between groups of `group` digits; with '=' padding of zeros the zeros are grouped too, which is
 * not done here. */
static const struct string *group_digits(struct jinja *j, const char *digits, size_t n, char separator, size_t group)
{
    struct builder b = {.j = j};
    size_t whole = 0;
    while (whole < n && digits[whole] != '.' && digits[whole] != 'e' && digits[whole] != '%')
        whole++;
    for (size_t i = 0; i < n; i++) {
        if (separator && i > 0 && i < whole && (whole - i) % group == 0) builder_bytes(&b, &separator, 1, 0);
        builder_bytes(&b, digits + i, 1, 0);
    }
    return builder_finish(&b);
}

static void add_number(struct builder *b, const struct spec *spec, bool negative, const char *prefix,
                       const struct string *digits)
{
    struct builder text = {.j = b->j};
    char sign[2] = {negative ? '-' : spec->sign, '\0'};
    builder_text(&text, sign);
    if (spec->alternate) builder_text(&text, prefix);
    size_t n_prefix = text.n;
    builder_string(&text, digits);
    pad(b, spec, builder_finish(&text), n_prefix, spec->align ? spec->align : '>');
}

static void format_integer(struct builder *b, const struct spec *spec, int64_t integer)
{
    char text[72], *at = text + sizeof text;
    uint64_t rest = integer < 0 ? -(uint64_t)integer : (uint64_t)integer;
    unsigned base = spec->type == 'x' || spec->type == 'X' ? 16 : spec->type == 'o' ? 8 : spec->type == 'b' ? 2 : 10;
    const char *digits = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    const char *prefix = spec->type == 'x'   ? "0x"
                         : spec->type == 'X' ? "0X"
                         : spec->type == 'o' ? "0o"
                         : spec->type == 'b' ? "0b"
                                             : "";
    do {
        *--at = digits[rest % base];
        rest /= base;
    } while (rest);
    size_t n = (size_t)(text + sizeof text - at);
    add_number(b, spec, integer < 0, prefix, group_digits(b->j, at, n, spec->grouping, base == 10 ? 3 : 4));
}

static void format_float(struct builder *b, const struct spec *spec, double x)
{
    char conversion[8], text[PRECISION_MAX + 350];
    char type = spec->type == '%' ? 'f' : spec->type == 'n' ? 'g' : spec->type;
    double magnitude = fabs(spec->type == '%' ? x * 100 : x);
    int precision = spec->precision < 0 ? 6 : spec->precision;
    if (precision > PRECISION_MAX) jinja_fail(b->j, "a precision of more than %d in a format", PRECISION_MAX);
    int n;
    if (isnan(x) || isinf(x)) {
        n = snprintf(text, sizeof text, "%s", isnan(x) ? (type == 'F' ? "NAN" : "nan") : type == 'F' ? "INF" : "inf");
    } else if (!type && spec->precision < 0) {
        n = (int)jinja_float_text(magnitude, text);
    } else {
        snprintf(conversion, sizeof conversion, "%%%s.*%c", spec->alternate ? "#" : "", type ? type : 'g');
        n = snprintf(text, sizeof text, conversion, precision, magnitude);
        /* without a type there is always a digit after the point */
        if (!type && !strpbrk(text, ".e")) n += snprintf(text + n, sizeof text - (size_t)n, ".0");
    }
    if (spec->type == '%') n += snprintf(text + n, sizeof text - (size_t)n, "%%");
    struct spec plain = *spec;
    plain.alternate = false;
    add_number(b, &plain, signbit(x) && !isnan(x), "", group_digits(b->j, text, (size_t)n, spec->grouping, 3));
}

/* ---- % ---- */

struct percent {
    struct builder *b;
    struct value arguments;
    size_t used;    /* positional ones */
    bool is_mapped; /* %(name)s was seen */
    bool safe;      /* the format is Markup: strings are escaped */
};

static struct value next_argument(struct percent *p)
{
    struct jinja *j = p->b->j;
    if (p->arguments.kind != JINJA_TUPLE) {
        if (p->used++ > 0) jinja_fail(j, "not enough arguments for format string");
        return p->arguments;
    }
    if (p->used == p->arguments.as.list->n) jinja_fail(j, "not enough arguments for format string");
    return p->arguments.as.list->items[p->used++];
}

static struct value percent_value(struct percent *p, const struct string *s, size_t *at)
{
    struct jinja *j = p->b->j;
    if (*at >= s->n || s->bytes[*at] != '(') return (struct value){.kind = JINJA_MISSING};
    size_t begin = ++*at;
    for (int level = 1; level > 0; (*at)++) {
        if (*at >= s->n) jinja_fail(j, "incomplete format key");
        level += (s->bytes[*at] == '(') - (s->bytes[*at] == ')');
    }
    if (p->arguments.kind != JINJA_DICT) jinja_fail(j, "format requires a mapping");
    struct value key = jinja_string(string_slice(j, s, begin, *at - 1));
    const struct value *v = jinja_find(j, p->arguments.as.dict, key);
    if (!v) jinja_fail(j, "the mapping has no key '%.*s'", (int)key.as.string->n, key.as.string->bytes);
    p->is_mapped = true;
    return *v;
}

static void percent_flags(struct percent *p, const struct string *s, size_t *at, struct spec *spec)
{
    struct jinja *j = p->b->j;
    *spec = (struct spec){.fill = &space, .precision = -1};
    for (; *at < s->n && strchr("-+ #0", s->bytes[*at]) && s->bytes[*at]; (*at)++) {
        char c = s->bytes[*at];
        if (c == '-') spec->align = '<';
        if (c == '+' || (c == ' ' && !spec->sign)) spec->sign = c;
        if (c == '#') spec->alternate = true;
        if (c == '0') spec->fill = &zero;
    }
    if (spec->align) spec->fill = &space;
    if (*at < s->n && s->bytes[*at] == '*') {
        (*at)++;
        spec->width = jinja_want_int(j, next_argument(p), "a width");
        if (spec->width < 0) spec->align = '<', spec->width = spec->width < -JINJA_WIDTH_MAX ? 0 : -spec->width;
        if (spec->width > JINJA_WIDTH_MAX) jinja_fail(j, "a width of more than %d in a format", JINJA_WIDTH_MAX);
    } else {
        spec->width = read_number(j, s, at);
    }
    if (*at < s->n && s->bytes[*at] == '.') {
        (*at)++;
        int64_t n = read_number(j, s, at);
        spec->precision = n < 0 ? 0 : (int)n;
    }
    while (*at < s->n && strchr("hlL", s->bytes[*at]) && s->bytes[*at])
        (*at)++;
}

static int64_t percent_integer(struct jinja *j, struct value v, char type)
{
    if (!jinja_is_number(v) || (v.kind == JINJA_FLOAT && type != 'd'))
        jinja_fail(j, "%%%c format: an integer is required, not %s", type, jinja_type_name(v));
    if (v.kind != JINJA_FLOAT) return jinja_want_int(j, v, "");
    if (!(v.as.real > -0x1p63 && v.as.real < 0x1p63)) jinja_fail(j, "the number does not fit in 64 bits");
    return (int64_t)v.as.real;
}

static void percent_convert(struct percent *p, struct spec *spec, struct value v)
{
    struct jinja *j = p->b->j;
    const struct string *text = NULL;
    if (spec->type == 'i' || spec->type == 'u') spec->type = 'd';
    if (spec->type == 's') text = jinja_str(j, v);
    if (spec->type == 'r' || spec->type == 'a') text = jinja_repr(j, v);
    if (spec->type == 'c' && v.kind == JINJA_STRING && unicode_length(v.as.string) == 1) text = v.as.string;
    if (text) {
        if (p->safe) text = string_escape(j, text);
        if (spec->fill == &zero) spec->fill = &space;
        pad_text(p->b, spec, text, '>');
        return;
    }
    if (!spec->align && spec->fill == &zero) spec->align = '=';
    if (strchr("dxXo", spec->type)) {
        int64_t integer = percent_integer(j, v, spec->type);
        if (spec->precision >= 0) { /* at least that many digits */
            struct builder digits = {.j = j};
            struct spec inner = {.fill = &zero,
                                 .width = spec->precision + (integer < 0),
                                 .type = spec->type,
                                 .align = '=',
                                 .sign = spec->sign,
                                 .precision = -1};
            format_integer(&digits, &inner, integer);
            pad(p->b, spec, builder_finish(&digits), 0, spec->align ? spec->align : '>');
        } else {
            format_integer(p->b, spec, integer);
        }
        return;
    }
    if (!strchr("eEfFgG", spec->type)) jinja_fail(j, "unsupported format character '%c'", spec->type);
    if (!jinja_is_number(v)) jinja_fail(j, "must be real number, not %s", jinja_type_name(v));
    format_float(p->b, spec, jinja_as_double(v));
}

struct value jinja_percent(struct jinja *j, const struct string *format, struct value arguments)
{
    struct builder b = {.j = j};
    struct percent p = {.b = &b, .arguments = arguments, .safe = format->safe};
    for (size_t at = 0; at < format->n;) {
        size_t run = at;
        while (run < format->n && format->bytes[run] != '%')
            run++;
        builder_slice(&b, format, at, run);
        at = run + 1;
        if (run == format->n) break;
        struct spec spec;
        struct value v = percent_value(&p, format, &at);
        percent_flags(&p, format, &at, &spec);
        if (at >= format->n || !format->bytes[at]) jinja_fail(j, "incomplete format");
        spec.type = format->bytes[at++];
        if (spec.type == '%')
            builder_text(&b, "%");
        else
            percent_convert(&p, &spec, v.kind == JINJA_MISSING ? next_argument(&p) : v);
    }
    bool all_used = arguments.kind == JINJA_TUPLE ? p.used == arguments.as.list->n : p.used == 1;
    /* what can be subscripted may go unused, as in Python */
    if (arguments.kind == JINJA_DICT || arguments.kind == JINJA_LIST || arguments.kind == JINJA_RANGE ||
        arguments.kind == JINJA_UNDEFINED)
        all_used = true;
    if (!all_used && !p.is_mapped) jinja_fail(j, "not all arguments converted during string formatting");
    return jinja_string(string_safe(j, builder_finish(&b), format->safe));
}

/* ---- format ---- */

struct fields {
    struct builder *b;
    const struct args *args;
    size_t next;    /* automatic number */
    bool is_manual; /* numbers were given */
    bool safe;
};

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static struct spec read_spec(struct jinja *j, const struct string *s)
{
    struct spec spec = {.fill = &space, .precision = -1};
    uint32_t c;
    size_t at = 0, n = s->n > 0 ? utf8_decode(s->bytes, s->n, &c) : 0;
    if (n < s->n && n > 0 && is_align(s->bytes[n])) {
        spec.fill = string_slice(j, s, 0, n);
        spec.align = s->bytes[n];
        at = n + 1;
    } else if (s->n > 0 && is_align(s->bytes[0])) {
        spec.align = s->bytes[at++];
    }
    if (at < s->n && s->bytes[at] && strchr("+- ", s->bytes[at])) {
        spec.sign = s->bytes[at] == '-' ? '\0' : s->bytes[at];
        at++;
    }
    if (at < s->n && s->bytes[at] == '#') spec.alternate = true, at++;
    if (at < s->n && s->bytes[at] == '0') {
        if (!spec.align) spec.fill = &zero, spec.align = '=';
        at++;
    }
    spec.width = read_number(j, s, &at);
    if (at < s->n && (s->bytes[at] == ',' || s->bytes[at] == '_')) spec.grouping = s->bytes[at++];
    if (at < s->n && s->bytes[at] == '.') {
        at++;
        spec.precision = (int)read_number(j, s, &at);
        if (spec.precision < 0) jinja_fail(j, "format specifier missing precision");
    }
    if (at < s->n) spec.type = s->bytes[at++];
    if (at < s->n) jinja_fail(j, "invalid format specifier '%.*s'", (int)s->n, s->bytes);
    return spec;
}

static void format_value(struct fields *f, struct value v, const struct string *spec_text)
{
    struct jinja *j = f->b->j;
    struct spec spec = read_spec(j, spec_text);
    if (spec_text->n == 0 || v.kind == JINJA_STRING) {
        const struct string *text = jinja_str(j, v);
        if (spec.align == '=' || (spec.type && spec.type != 's') || spec.sign || spec.alternate || spec.grouping)
            jinja_fail(j, "format specifier '%.*s' is not for strings", (int)spec_text->n, spec_text->bytes);
        pad_text(f->b, &spec, f->safe ? string_escape(j, text) : text, '<');
        return;
    }
    if (!jinja_is_number(v)) jinja_fail(j, "unsupported format string passed to %s", jinja_type_name(v));
    if (v.kind == JINJA_FLOAT || (spec.type && strchr("eEfFgG%", spec.type))) {
        if (spec.type && !strchr("eEfFgGn%", spec.type))
            jinja_fail(j, "unknown format code '%c' for a float", spec.type);
        format_float(f->b, &spec, jinja_as_double(v));
        return;
    }
    if ((spec.type && !strchr("dxXobn", spec.type)) || spec.precision >= 0)
        jinja_fail(j, "format specifier '%.*s' is not for integers", (int)spec_text->n, spec_text->bytes);
    format_integer(f->b, &spec, jinja_want_int(j, v, ""));
}

static bool all_digits(const struct string *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->bytes[i] < '0' || s->bytes[i] > '9') return false;
    return s->n > 0;
}

static struct value field_first(struct fields *f, const struct string *name)
{
    struct jinja *j = f->b->j;
    size_t at = 0, i = name->n == 0 ? f->next++ : SIZE_MAX;
    if (all_digits(name)) {
        i = (size_t)read_number(j, name, &at);
        f->is_manual = true;
    }
    if (f->is_manual && f->next > 0) jinja_fail(j, "format: fields with and without numbers do not mix");
    if (i != SIZE_MAX) {
        if (i >= f->args->n) jinja_fail(j, "format: there is no positional argument %zu", i);
        return f->args->positional[i];
    }
    for (size_t k = 0; k < f->args->n_named; k++)
        if (string_equal(f->args->named[k].name, name)) return f->args->named[k].value;
    jinja_fail(j, "format: there is no argument '%.*s'", (int)name->n, name->bytes);
}

/* "0.name[key]" */
static struct value field_value(struct fields *f, const struct string *path)
{
    struct jinja *j = f->b->j;
    size_t at = 0;
    while (at < path->n && path->bytes[at] != '.' && path->bytes[at] != '[')
        at++;
    struct value v = field_first(f, string_slice(j, path, 0, at));
    while (at < path->n) {
        bool is_item = path->bytes[at] == '[';
        size_t begin = ++at;
        while (at < path->n && (is_item ? path->bytes[at] != ']' : path->bytes[at] != '.' && path->bytes[at] != '['))
            at++;
        const struct string *name = string_slice(j, path, begin, at);
        size_t digit = 0;
        if (name->n == 0 || (is_item && at == path->n)) jinja_fail(j, "format: empty attribute");
        if (is_item) at++;
        if (!is_item)
            v = jinja_attribute(j, v, name);
        else
            v = jinja_item(j, v, all_digits(name) ? jinja_int(read_number(j, name, &digit)) : jinja_string(name));
    }
    return v;
}

static void format_fields(struct fields *f, const struct string *s, int level);

/* What stands between braces: path, !conversion, :spec (which may hold fields itself). */
static void format_field(struct fields *f, const struct string *field, int level)
{
    struct jinja *j = f->b->j;
    size_t end = 0, colon;
    bool in_brackets = false;
    for (; end < field->n && (in_brackets || (field->bytes[end] != '!' && field->bytes[end] != ':')); end++)
        in_brackets = field->bytes[end] == '[' || (in_brackets && field->bytes[end] != ']');
    colon = end;
    char conversion = '\0';
    if (end < field->n && field->bytes[end] == '!') {
        if (end + 1 >= field->n) jinja_fail(j, "format: end of field where a conversion was expected");
        conversion = field->bytes[end + 1];
        colon = end + 2;
        if (colon < field->n && field->bytes[colon] != ':') jinja_fail(j, "format: expected ':' after conversion");
    }
    struct value v = field_value(f, string_slice(j, field, 0, end));
    if (conversion == 's')
        v = jinja_string(jinja_str(j, v));
    else if (conversion == 'r' || conversion == 'a')
        v = jinja_string(jinja_repr(j, v));
    else if (conversion)
        jinja_fail(j, "format: unknown conversion '%c'", conversion);
    struct builder *out = f->b, spec = {.j = j};
    if (colon < field->n) {
        f->b = &spec;
        format_fields(f, string_slice(j, field, colon + 1, field->n), level + 1);
        f->b = out;
    }
    format_value(f, v, builder_finish(&spec));
}

static void format_fields(struct fields *f, const struct string *s, int level)
{
    struct jinja *j = f->b->j;
    if (level > 1) jinja_fail(j, "format: fields nest too deeply");
    for (size_t at = 0; at < s->n;) {
        size_t run = at;
        while (run < s->n && s->bytes[run] != '{' && s->bytes[run] != '}')
            run++;
        builder_slice(f->b, s, at, run);
        at = run + 1;
        if (run == s->n) return;
        if (at < s->n && s->bytes[at] == s->bytes[run]) { /* a doubled brace is one */
            builder_slice(f->b, s, run, at);
            at++;
            continue;
        }
        if (s->bytes[run] == '}') jinja_fail(j, "format: single '}' encountered");
        size_t begin = at;
        for (int depth = 1; depth > 0; at++) {
            if (at >= s->n) jinja_fail(j, "format: single '{' encountered");
            depth += (s->bytes[at] == '{') - (s->bytes[at] == '}');
        }
        format_field(f, string_slice(j, s, begin, at - 1), level);
    }
}

struct value jinja_format(struct jinja *j, const struct string *format, const struct args *args)
{
    struct builder b = {.j = j};
    struct fields f = {.b = &b, .args = args, .safe = format->safe};
    format_fields(&f, format, 0);
    return jinja_string(string_safe(j, builder_finish(&b), format->safe));
}
