/* Characters as Python sees them, through utf8proc's tables. */
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool unicode_is(uint32_t c, enum unicode_class class)
{
    utf8proc_category_t k = category(c);
    bool alpha = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
    bool numeric = k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
    switch (class) {
    case UNICODE_ALPHA: return alpha;
    case UNICODE_DIGIT: return k == UTF8PROC_CATEGORY_ND;
    case UNICODE_NUMERIC: return numeric;
    case UNICODE_ALNUM: return alpha || numeric;
    case UNICODE_LOWER: return k == UTF8PROC_CATEGORY_LL;
    case UNICODE_UPPER: return k == UTF8PROC_CATEGORY_LU;
    }
    return false;
}

bool unicode_is_word(uint32_t c)
{
    if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC;
}

bool unicode_is_printable(uint32_t c)
{
    if (c == ' ') return true;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t unicode_length(const struct string *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += !is_continuation(s->bytes[i]);
    return n;
}

size_t unicode_offset(const struct string *s, size_t i)
{
    size_t at = 0;
    for (; at < s->n; at++)
        if (!is_continuation(s->bytes[at]) && i-- == 0) break;
    return at;
}

size_t unicode_line_break(const struct string *s, size_t at)
{
    uint32_t c;
    size_t n = utf8_decode(s->bytes + at, s->n - at, &c);
    if (c == '\r' && at + 1 < s->n && s->bytes[at + 1] == '\n') return 2;
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029 ? n : 0;
}

/* The characters that full case folding makes of c; 1 for most. */
static size_t fold(uint32_t c, uint32_t out[4])
{
    utf8proc_int32_t folded[4];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, folded, 4, UTF8PROC_CASEFOLD, &boundary);
    if (n < 1 || n > 4) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)folded[i];
    return (size_t)n;
}

static uint32_t upper1(uint32_t c)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

static uint32_t lower1(uint32_t c)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

/* Unicode's SpecialCasing: a character whose folding is several characters (sharp s, ligatures, Greek with iota)
 * has that many in upper case too, except those that are upper case already. */
static size_t upper(uint32_t c, uint32_t out[4])
{
    if (c >= 0x80 && category(c) != UTF8PROC_CATEGORY_LU) {
        size_t n = fold(c, out);
        if (n > 1) {
            for (size_t i = 0; i < n; i++)
                out[i] = upper1(out[i]);
            return n;
        }
    }
    out[0] = upper1(c);
    return 1;
}

static size_t lower(uint32_t c, uint32_t out[4])
{
    if (c == 0x130) return fold(c, out); /* I with dot: the only letter of two in lower case */
    out[0] = lower1(c);
    return 1;
}

static size_t title(uint32_t c, uint32_t out[4])
{
    uint32_t single = (uint32_t)utf8proc_totitle((utf8proc_int32_t)c);
    bool is_title = category(c) == UTF8PROC_CATEGORY_LT;
    /* sharp s has no title case of its own */
    size_t n = !is_title && (single == c || c == 0xdf) ? upper(c, out) : 1;
    if (n == 1) {
        out[0] = single;
        return 1;
    }
    for (size_t i = c == 0x149 ? 2 : 1; i < n; i++)
        out[i] = out[i] == 0x399 ? 0x345 : lower1(out[i]); /* iota goes below; of U+0149 the second is the letter */
    return n;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || upper1(c) != c ||
           lower1(c) != c;
}

static bool is_case_ignorable(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xb7 ||
           c == 0x2018 || c == 0x2019;
}

/* Is the capital sigma at `at` the last letter of a word? Then its lower case is another one. */
static bool is_final_sigma(struct jinja *j, const struct string *s, size_t at, size_t n)
{
    uint32_t c = 0;
    size_t i = at;
    while (i > 0) {
        jinja_charge(j, 1);
        for (i--; i > 0 && is_continuation(s->bytes[i]);)
            i--;
        utf8_decode(s->bytes + i, s->n - i, &c);
        if (!is_case_ignorable(c)) break;
        c = 0;
    }
    if (!is_cased(c)) return false;
    for (i = at + n; i < s->n; i += n) {
        jinja_charge(j, 1);
        n = utf8_decode(s->bytes + i, s->n - i, &c);
        if (!is_case_ignorable(c)) return !is_cased(c);
    }
    return true;
}

static size_t lower_at(struct jinja *j, const struct string *s, size_t at, size_t n, uint32_t c, uint32_t out[4])
{
    if (c != 0x3a3) return lower(c, out);
    out[0] = is_final_sigma(j, s, at, n) ? 0x3c2 : 0x3c3;
    return 1;
}

const struct string *unicode_case(struct jinja *j, const struct string *s, enum unicode_case how)
{
    struct builder b = {.j = j};
    bool in_word = false; /* CASE_TITLE: the letter before was cased; CASE_CAPITALIZE: not the first */
    jinja_charge(j, s->n / 16);
    for (size_t at = 0; at < s->n;) {
        uint32_t c, out[4];
        size_t n = utf8_decode(s->bytes + at, s->n - at, &c), n_out;
        if (how == CASE_UPPER)
            n_out = upper(c, out);
        else if (how != CASE_LOWER && !in_word)
            n_out = title(c, out);
        else
            n_out = lower_at(j, s, at, n, c, out);
        in_word = how == CASE_TITLE ? is_cased(c) : true;
        for (size_t i = 0; i < n_out; i++) {
            char bytes[4];
            builder_bytes(&b, bytes, utf8_encode(out[i], bytes), string_mark(s, at));
        }
        at += n;
    }
    return string_safe(j, builder_finish(&b), s->safe);
}
