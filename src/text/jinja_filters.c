/* Filters on single values: text, numbers, defaults, JSON. */
#include "text/jinja_builtin.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FROM_JSON_MAX = 4 << 20 };

/* What the text filters of jinja2 begin with: str() of anything that is no string. */
static struct value as_text(struct jinja *j, struct value v)
{
    return jinja_string(jinja_str(j, v));
}

static struct value upper(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, jinja_str(j, self), CASE_UPPER));
}

static struct value lower(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, jinja_str(j, self), CASE_LOWER));
}

static struct value capitalize(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, jinja_str(j, self), CASE_CAPITALIZE));
}

static bool begins_word(uint32_t c)
{
    return unicode_is_space(c) || (c < 0x80 && c > 0 && strchr("-({[<", (int)c));
}

/* jinja2's own title: a word begins after white space or one of - ( { [ <. */
static struct value title(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = jinja_str(j, self);
    struct builder b = {.j = j};
    (void)args;
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        size_t first = utf8_decode(s->bytes + at, s->n - at, &c), end = at + first;
        jinja_charge(j, 1);
        if (begins_word(c)) {
            builder_slice(&b, s, at, end);
            at = end;
            continue;
        }
        while (end < s->n) {
            size_t n = utf8_decode(s->bytes + end, s->n - end, &c);
            if (begins_word(c)) break;
            end += n;
        }
        builder_string(&b, unicode_case(j, string_slice(j, s, at, at + first), CASE_UPPER));
        builder_string(&b, unicode_case(j, string_slice(j, s, at + first, end), CASE_LOWER));
        at = end;
    }
    return jinja_string(builder_finish(&b));
}

static struct value trim(struct jinja *j, struct value self, struct args *args)
{
    return jinja_string(string_strip(j, jinja_str(j, self), args->bound[0], true, true));
}

static struct value string(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return as_text(j, self);
}

static struct value safe(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(string_safe(j, jinja_str(j, self), true));
}

static struct value escape(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(string_escape(j, jinja_str(j, self)));
}

static struct value forceescape(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(string_escape(j, string_safe(j, jinja_str(j, self), false)));
}

static struct value replace(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = string_safe(j, jinja_str(j, self), false);
    int64_t limit = -1;
    if (args->bound[2].kind != JINJA_MISSING && args->bound[2].kind != JINJA_NONE)
        limit = jinja_want_int(j, args->bound[2], "the count of replace");
    return jinja_string(string_replace(j, s, jinja_str(j, args->bound[0]), jinja_str(j, args->bound[1]), limit));
}

static struct value format(struct jinja *j, struct value self, struct args *args)
{
    struct value arguments = {.kind = JINJA_TUPLE, .as.list = &(struct list){.items = args->positional, .n = args->n}};
    if (args->n > 0 && args->n_named > 0) jinja_fail(j, "format takes positional or keyword arguments, not both");
    if (args->n_named > 0) {
        arguments = jinja_dict(j, JINJA_DICT);
        for (size_t i = 0; i < args->n_named; i++)
            jinja_put(j, arguments.as.dict, jinja_string(args->named[i].name), args->named[i].value);
    }
    return jinja_percent(j, jinja_str(j, self), arguments);
}

static const struct string *indentation(struct jinja *j, struct value width)
{
    static const struct string space = {.bytes = " ", .n = 1};
    struct builder b = {.j = j};
    if (width.kind == JINJA_STRING) return width.as.string;
    builder_repeat(&b, &space, width.kind == JINJA_MISSING ? 4 : jinja_want_int(j, width, "the width"));
    return builder_finish(&b);
}

static struct value indent(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = jinja_want_string(j, self, "what is indented"), *by = indentation(j, args->bound[0]);
    static const struct string newline = {.bytes = "\n", .n = 1};
    bool first = jinja_is_true(args->bound[1]), blank = jinja_is_true(args->bound[2]);
    struct builder b = {.j = j};
    if (s->safe) by = string_escape(j, by);
    builder_string(&b, s);
    builder_string(&b, &newline); /* so that a last line without one counts as a line */
    struct list lines = *string_lines(j, builder_finish(&b), false).as.list;
    b = (struct builder){.j = j};
    for (size_t i = 0; i < lines.n; i++) {
        const struct string *line = lines.items[i].as.string;
        if (i > 0) builder_string(&b, &newline);
        if (i == 0 ? first : blank || line->n > 0) builder_string(&b, by);
        builder_string(&b, line);
    }
    return jinja_string(string_safe(j, builder_finish(&b), s->safe));
}

static struct value center(struct jinja *j, struct value self, struct args *args)
{
    struct args one = {.bound = {args->bound[0].kind == JINJA_MISSING ? jinja_int(80) : args->bound[0]}};
    return string_center(j, as_text(j, self), &one);
}

static struct value truncate(struct jinja *j, struct value self, struct args *args)
{
    static const struct string dots = {.bytes = "...", .n = 3};
    size_t n;
    int64_t length = args->bound[0].kind == JINJA_MISSING ? 255 : jinja_want_int(j, args->bound[0], "the length");
    const struct string *end = &dots;
    if (args->bound[2].kind != JINJA_MISSING) end = jinja_want_string(j, args->bound[2], "the end of truncate");
    int64_t leeway = 5, n_end = (int64_t)unicode_length(end);
    if (args->bound[3].kind != JINJA_MISSING && args->bound[3].kind != JINJA_NONE)
        leeway = jinja_want_int(j, args->bound[3], "the leeway");
    if (length < n_end) jinja_fail(j, "expected length >= %jd, got %jd", (intmax_t)n_end, (intmax_t)length);
    if (leeway < 0) jinja_fail(j, "expected leeway >= 0, got %jd", (intmax_t)leeway);
    if (!jinja_has_length(j, self, &n)) jinja_fail(j, "'%s' has no length", jinja_type_name(self));
    if (length > INT64_MAX - leeway || (int64_t)n <= length + leeway) return self;
    struct value cut = jinja_slice(j, self, jinja_none(), jinja_int(length - n_end), jinja_none());
    if (!jinja_is_true(args->bound[1]) && cut.kind == JINJA_STRING) { /* not within a word */
        size_t at = cut.as.string->n;
        while (at > 0 && cut.as.string->bytes[at - 1] != ' ')
            at--;
        if (at > 0) cut = jinja_string(string_slice(j, cut.as.string, 0, at - 1));
    }
    return jinja_binary(j, OP_ADD, cut, jinja_string(end));
}

static struct value wordcount(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = jinja_str(j, self);
    int64_t n = 0;
    bool in_word = false;
    (void)args;
    jinja_charge(j, s->n / 16);
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        at += utf8_decode(s->bytes + at, s->n - at, &c);
        bool is_word = unicode_is(c, UNICODE_ALNUM) || c == '_';
        n += is_word && !in_word;
        in_word = is_word;
    }
    return jinja_int(n);
}

static struct value urlencode(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = jinja_str(j, self);
    struct builder b = {.j = j};
    (void)args;
    if (self.kind == JINJA_DICT || self.kind == JINJA_LIST || self.kind == JINJA_TUPLE)
        jinja_fail(j, "urlencode takes a string here");
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->bytes[i];
        char hex[4];
        if (c < 0x80 && (unicode_is_word(c) || strchr("-.~/", c)) && c)
            builder_slice(&b, s, i, i + 1);
        else
            builder_bytes(&b, hex, (size_t)snprintf(hex, sizeof hex, "%%%02X", c), string_mark(s, i));
    }
    return jinja_string(builder_finish(&b));
}

/* ---- defaults ---- */

static struct value default_value(struct jinja *j, struct value self, struct args *args)
{
    static const struct string empty = {.bytes = ""};
    (void)j;
    bool use = self.kind == JINJA_UNDEFINED || (jinja_is_true(args->bound[1]) && !jinja_is_true(self));
    if (!use) return self;
    return args->bound[0].kind == JINJA_MISSING ? jinja_string(&empty) : args->bound[0];
}

static struct value attr(struct jinja *j, struct value self, struct args *args)
{
    const struct string *name = jinja_want_string(j, args->bound[0], "the attribute");
    if (self.kind == JINJA_DICT && !jinja_method(self, name)) return jinja_undefined(name);
    return jinja_attribute(j, self, name);
}

/* ---- numbers ---- */

/* The text without white space around it and single underscores between digits, NUL-terminated; NULL when it holds
 * something no number has. */
static const char *number_text(struct jinja *j, const struct string *s)
{
    struct builder b = {.j = j};
    s = string_strip(j, s, jinja_none(), true, true);
    for (size_t i = 0; i < s->n; i++) {
        bool between = i > 0 && i + 1 < s->n && unicode_is_word((unsigned char)s->bytes[i - 1]) &&
                       s->bytes[i - 1] != '_' && unicode_is_word((unsigned char)s->bytes[i + 1]);
        if (s->bytes[i] == '\0' || (s->bytes[i] == '_' && !between)) return NULL;
        if (s->bytes[i] != '_') builder_bytes(&b, &s->bytes[i], 1, 0);
    }
    builder_bytes(&b, "", 1, 0);
    return s->n > 0 ? builder_finish(&b)->bytes : NULL;
}

static bool read_float(struct jinja *j, const struct string *s, double *x)
{
    char *end;
    const char *text = number_text(j, s);
    /* strtod also takes hexadecimal and nan(...), Python's float does not */
    if (!text || strpbrk(text, "xX(")) return false;
    *x = strtod(text, &end);
    return *end == '\0' && end != text;
}

/* Python's int(text, base). Returns 0: not a number, 1: read, -1: too large. */
static int read_int(struct jinja *j, const struct string *s, int64_t base, int64_t *integer)
{
    const char *text = number_text(j, s), *sign = text;
    if (!text || base < 0 || base == 1 || base > 36) return 0;
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    int prefix = text[0] != '0'          ? 0
                 : (text[1] | 32) == 'x' ? 16
                 : (text[1] | 32) == 'o' ? 8
                 : (text[1] | 32) == 'b' ? 2
                                         : 0;
    if (prefix && (base == prefix || base == 0)) {
        base = prefix;
        text += 2;
    } else if (base == 0) {
        base = 10;
        if (text[0] == '0' && text[strspn(text, "0")] != '\0') return 0;
    }
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    bool overflow = false;
    if (*text == '\0' || sign == NULL) return 0;
    for (; *text; text++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text | 32) : *text;
        int64_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
        if (digit >= base) return 0;
        overflow = overflow || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
                   __builtin_add_overflow(value, (uint64_t)digit, &value) || value > limit;
    }
    *integer = negative ? (int64_t)(0 - value) : (int64_t)value;
    return overflow ? -1 : 1;
}

static struct value int_from_float(struct jinja *j, double x, struct value fallback)
{
    if (isnan(x)) return fallback;
    if (isinf(x) || fabs(x) >= 0x1p63) jinja_fail(j, "int: the number does not fit in 64 bits");
    return jinja_int((int64_t)x);
}

static struct value int_filter(struct jinja *j, struct value self, struct args *args)
{
    struct value fallback = args->bound[0].kind == JINJA_MISSING ? jinja_int(0) : args->bound[0];
    int64_t base = args->bound[1].kind == JINJA_MISSING ? 10 : jinja_want_int(j, args->bound[1], "the base"), integer;
    double x;
    if (self.kind == JINJA_UNDEFINED) return jinja_plus(j, self); /* fails */
    if (self.kind == JINJA_INT || self.kind == JINJA_BOOL) return jinja_plus(j, self);
    if (self.kind == JINJA_FLOAT) return int_from_float(j, self.as.real, fallback);
    if (self.kind != JINJA_STRING) return fallback;
    int got = read_int(j, self.as.string, base, &integer);
    if (got < 0) jinja_fail(j, "int: the number does not fit in 64 bits");
    if (got > 0) return jinja_int(integer);
    if (!read_float(j, self.as.string, &x) || isinf(x)) return fallback;
    return int_from_float(j, x, fallback);
}

static struct value float_filter(struct jinja *j, struct value self, struct args *args)
{
    double x;
    if (self.kind == JINJA_UNDEFINED) return jinja_plus(j, self); /* fails */
    if (jinja_is_number(self)) return jinja_float(jinja_as_double(self));
    if (self.kind == JINJA_STRING && read_float(j, self.as.string, &x)) return jinja_float(x);
    return args->bound[0].kind == JINJA_MISSING ? jinja_float(0) : args->bound[0];
}

static struct value abs_filter(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    struct value v = jinja_plus(j, self);
    if (v.kind == JINJA_FLOAT) return jinja_float(fabs(v.as.real));
    return v.as.integer < 0 ? jinja_negate(j, v) : v;
}

/* To a multiple of 10^-precision for negative precisions: ties to even, as Python does. */
static struct value round_tens(struct jinja *j, struct value v, int64_t precision)
{
    if (precision < -18) return v.kind == JINJA_FLOAT ? jinja_float(copysign(0, v.as.real)) : jinja_int(0);
    int64_t unit = 1;
    for (; precision < 0; precision++)
        unit *= 10;
    if (v.kind == JINJA_FLOAT) return jinja_float(rint(v.as.real / (double)unit) * (double)unit);
    int64_t rest = v.as.integer % unit, twice, rounded;
    int64_t down = v.as.integer - rest, toward = v.as.integer < 0 ? -unit : unit;
    twice = rest < 0 ? -rest : rest;
    twice = twice > unit - twice ? 1 : twice < unit - twice ? -1 : 0;
    bool up = twice > 0 || (twice == 0 && (down / unit) % 2 != 0);
    if (__builtin_add_overflow(down, up ? toward : 0, &rounded)) jinja_fail(j, "integer overflow in round");
    return jinja_int(rounded);
}

static struct value round_filter(struct jinja *j, struct value self, struct args *args)
{
    struct value v = jinja_plus(j, self);
    int64_t precision = args->bound[0].kind == JINJA_MISSING ? 0 : jinja_want_int(j, args->bound[0], "the precision");
    const struct string *method = NULL;
    if (args->bound[1].kind != JINJA_MISSING) method = jinja_want_string(j, args->bound[1], "the method");
    if (!method || string_is(method, "common")) {
        char text[400];
        if (precision < 0) return round_tens(j, v, precision);
        if (v.kind == JINJA_INT || !isfinite(v.as.real) || precision > 30) return v;
        /* printf rounds the exact value, as Python does */
        snprintf(text, sizeof text, "%.*f", (int)precision, v.as.real);
        return jinja_float(strtod(text, NULL));
    }
    if (!string_is(method, "ceil") && !string_is(method, "floor"))
        jinja_fail(j, "method must be common, ceil or floor");
    struct value scale = jinja_binary(j, OP_POW, jinja_int(10), jinja_int(precision));
    double x = jinja_as_double(jinja_binary(j, OP_MUL, v, scale));
    x = string_is(method, "ceil") ? ceil(x) : floor(x);
    return jinja_binary(j, OP_DIV, int_from_float(j, x, jinja_int(0)), scale);
}

/* ---- JSON ---- */

/* transformers' tojson: no HTML escapes, keys in their order. */
static struct value tojson(struct jinja *j, struct value self, struct args *args)
{
    struct json_style style = {.ascii = jinja_is_true(args->bound[0]), .sort_keys = jinja_is_true(args->bound[3])};
    struct value indent = args->bound[1], separators = args->bound[2];
    if (indent.kind != JINJA_MISSING && indent.kind != JINJA_NONE) style.indent = indentation(j, indent);
    style.item_separator = jinja_text(j, style.indent ? "," : ", ").as.string;
    style.key_separator = jinja_text(j, ": ").as.string;
    if (separators.kind != JINJA_MISSING && separators.kind != JINJA_NONE) {
        struct list pair = jinja_items(j, separators);
        if (pair.n != 2) jinja_fail(j, "tojson: separators must be two strings");
        style.item_separator = jinja_want_string(j, pair.items[0], "a separator");
        style.key_separator = jinja_want_string(j, pair.items[1], "a separator");
    }
    struct builder b = {.j = j};
    jinja_dump(&b, self, &style);
    return jinja_string(builder_finish(&b));
}

/* The strings of the result count as the variables' own: a JSON text does not say which byte came from where. */
static struct value from_json(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = jinja_want_string(j, self, "from_json's input");
    json_error_t error;
    (void)args;
    jinja_charge(j, s->n / 8);
    if (s->n > FROM_JSON_MAX) jinja_fail(j, "from_json: more than %d bytes", FROM_JSON_MAX);
    j->parsed = json_loadb(s->bytes, s->n, JSON_DECODE_ANY, &error);
    if (!j->parsed) jinja_fail(j, "from_json: %s", error.text);
    struct value v = jinja_from_json(j, j->parsed, 1, true);
    json_decref(j->parsed);
    j->parsed = NULL;
    return v;
}

static const struct builtin filters[] = {
    {"abs", abs_filter, {NULL}, 0},
    {"attr", attr, {"name"}, 1},
    {"capitalize", capitalize, {NULL}, 0},
    {"center", center, {"width"}, 0},
    {"d", default_value, {"default_value", "boolean"}, 0},
    {"default", default_value, {"default_value", "boolean"}, 0},
    {"e", escape, {NULL}, 0},
    {"escape", escape, {NULL}, 0},
    {"float", float_filter, {"default"}, 0},
    {"forceescape", forceescape, {NULL}, 0},
    {"format", format, {"*"}, 0},
    {"from_json", from_json, {NULL}, 0},
    {"indent", indent, {"width", "first", "blank"}, 0},
    {"int", int_filter, {"default", "base"}, 0},
    {"lower", lower, {NULL}, 0},
    {"replace", replace, {"old", "new", "count"}, 2},
    {"round", round_filter, {"precision", "method"}, 0},
    {"safe", safe, {NULL}, 0},
    {"string", string, {NULL}, 0},
    {"title", title, {NULL}, 0},
    {"tojson", tojson, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0},
    {"trim", trim, {"chars"}, 0},
    {"truncate", truncate, {"length", "killwords", "end", "leeway"}, 0},
    {"upper", upper, {NULL}, 0},
    {"urlencode", urlencode, {NULL}, 0},
    {"wordcount", wordcount, {NULL}, 0},
};
const struct builtin_table jinja_text_filters = {filters, sizeof filters / sizeof *filters};
