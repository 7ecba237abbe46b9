/* Methods of strings that pad and that ask. */
#include "text/jinja_builtin.h"
#include "text/utf8.h"

static struct value justify(struct jinja *j, struct value self, struct args *args, char align)
{
    static const struct string space = {.bytes = " ", .n = 1};
    const struct string *s = self.as.string, *fill = &space;
    int64_t n = (int64_t)unicode_length(s), width = jinja_want_int(j, args->bound[0], "a width");
    jinja_charge(j, s->n / 64);
    if (args->bound[1].kind != JINJA_MISSING) fill = jinja_want_string(j, args->bound[1], "the fill character");
    if (unicode_length(fill) != 1) jinja_fail(j, "the fill character must be exactly one character long");
    int64_t missing = width > n ? width - n : 0;
    /* where the odd one goes is CPython's choice */
    int64_t left = align == '<' ? 0 : align == '>' ? missing : missing / 2 + (missing & width & 1);
    struct builder b = {.j = j};
    builder_repeat(&b, fill, left);
    builder_string(&b, s);
    builder_repeat(&b, fill, missing - left);
    return jinja_string(string_safe(j, builder_finish(&b), s->safe));
}

static struct value string_ljust(struct jinja *j, struct value self, struct args *args)
{
    return justify(j, self, args, '<');
}

static struct value string_rjust(struct jinja *j, struct value self, struct args *args)
{
    return justify(j, self, args, '>');
}

struct value string_center(struct jinja *j, struct value self, struct args *args)
{
    return justify(j, self, args, '^');
}

static struct value string_zfill(struct jinja *j, struct value self, struct args *args)
{
    static const struct string zero = {.bytes = "0", .n = 1};
    const struct string *s = self.as.string;
    int64_t n = (int64_t)unicode_length(s), width = jinja_want_int(j, args->bound[0], "a width");
    size_t sign = s->n > 0 && (s->bytes[0] == '+' || s->bytes[0] == '-');
    struct builder b = {.j = j};
    builder_slice(&b, s, 0, sign);
    builder_repeat(&b, &zero, width > n ? width - n : 0);
    builder_slice(&b, s, sign, s->n);
    return jinja_string(string_safe(j, builder_finish(&b), s->safe));
}

static struct value all_are(struct jinja *j, const struct string *s, enum unicode_class class)
{
    jinja_charge(j, s->n / 8);
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        at += utf8_decode(s->bytes + at, s->n - at, &c);
        if (!unicode_is(c, class)) return jinja_bool(false);
    }
    return jinja_bool(s->n > 0);
}

/* At least one letter of the case, and none of the other. */
static struct value has_case(struct jinja *j, const struct string *s, enum unicode_class class)
{
    enum unicode_class other = class == UNICODE_LOWER ? UNICODE_UPPER : UNICODE_LOWER;
    bool found = false;
    jinja_charge(j, s->n / 8);
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        at += utf8_decode(s->bytes + at, s->n - at, &c);
        if (unicode_is(c, other)) return jinja_bool(false);
        found = found || unicode_is(c, class);
    }
    return jinja_bool(found);
}

static struct value string_isalpha(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return all_are(j, self.as.string, UNICODE_ALPHA);
}

static struct value string_isdigit(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return all_are(j, self.as.string, UNICODE_DIGIT);
}

static struct value string_isnumeric(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return all_are(j, self.as.string, UNICODE_NUMERIC);
}

static struct value string_isalnum(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return all_are(j, self.as.string, UNICODE_ALNUM);
}

static struct value string_isspace(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    jinja_charge(j, self.as.string->n / 8);
    for (size_t at = 0; at < self.as.string->n;) {
        uint32_t c;
        at += utf8_decode(self.as.string->bytes + at, self.as.string->n - at, &c);
        if (!unicode_is_space(c)) return jinja_bool(false);
    }
    return jinja_bool(self.as.string->n > 0);
}

struct value string_islower(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return has_case(j, self.as.string, UNICODE_LOWER);
}

struct value string_isupper(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return has_case(j, self.as.string, UNICODE_UPPER);
}

static struct value string_isascii(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    jinja_charge(j, self.as.string->n / 64);
    for (size_t i = 0; i < self.as.string->n; i++)
        if ((unsigned char)self.as.string->bytes[i] >= 0x80) return jinja_bool(false);
    return jinja_bool(true);
}

static const struct builtin queries[] = {
    {"ljust", string_ljust, {"/width", "/fillchar"}, 1},
    {"rjust", string_rjust, {"/width", "/fillchar"}, 1},
    {"center", string_center, {"/width", "/fillchar"}, 1},
    {"zfill", string_zfill, {"/width"}, 1},
    {"isalpha", string_isalpha, {NULL}, 0},
    {"isdigit", string_isdigit, {NULL}, 0},
    {"isdecimal", string_isdigit, {NULL}, 0},
    {"isnumeric", string_isnumeric, {NULL}, 0},
    {"isalnum", string_isalnum, {NULL}, 0},
    {"isspace", string_isspace, {NULL}, 0},
    {"islower", string_islower, {NULL}, 0},
    {"isupper", string_isupper, {NULL}, 0},
    {"isascii", string_isascii, {NULL}, 0},
};
const struct builtin_table jinja_string_queries = {queries, sizeof queries / sizeof *queries};
