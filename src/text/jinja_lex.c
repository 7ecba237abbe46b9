#include "text/jinja_lex.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
    struct jinja *j;
    const char *s; /* the source after newline normalisation */
    size_t n, at;
    size_t counted; /* line and column of j are those of this offset */
    unsigned line, column;
    bool line_starting; /* the tag before ended with a newline */
    struct token *tokens;
    size_t n_tokens, capacity;
    char closing[JINJA_DEPTH_MAX]; /* brackets to come */
    size_t n_closing;
};

static void locate(struct lexer *x, size_t at)
{
    for (; x->counted < at; x->counted++) {
        unsigned char c = (unsigned char)x->s[x->counted];
        if (c == '\n') {
            x->line++;
            x->column = 1;
        } else if ((c & 0xc0) != 0x80) {
            x->column++;
        }
    }
    x->j->line = x->line;
    x->j->column = x->column;
}

static struct token *add(struct lexer *x, enum token_type type, size_t at)
{
    if (x->n_tokens == x->capacity)
        x->tokens = jinja_grow(x->j, x->tokens, x->n_tokens, &x->capacity, sizeof *x->tokens);
    locate(x, at);
    struct token *token = &x->tokens[x->n_tokens++];
    *token = (struct token){.type = type, .line = x->line, .column = x->column};
    return token;
}

static bool starts(const struct lexer *x, size_t at, const char *text)
{
    size_t n = strlen(text);
    return x->n - at >= n && memcmp(x->s + at, text, n) == 0;
}

/* The first offset at or after `at` that is not white space. */
static size_t skip_space(const struct lexer *x, size_t at)
{
    while (at < x->n) {
        uint32_t c;
        size_t n = utf8_decode(x->s + at, x->n - at, &c);
        if (!unicode_is_space(c)) break;
        at += n;
    }
    return at;
}

/* The end of [begin, end) without white space at the end, down to `floor`. */
static size_t strip_space(const struct lexer *x, size_t begin, size_t end)
{
    while (end > begin) {
        size_t at = end - 1;
        uint32_t c;
        while (at > begin && ((unsigned char)x->s[at] & 0xc0) == 0x80)
            at--;
        utf8_decode(x->s + at, end - at, &c);
        if (!unicode_is_space(c)) break;
        end = at;
    }
    return end;
}

/* Adds the text before a tag. `sign` is what stands after the tag's opening; variable tags are not stripped before. */
static void add_data(struct lexer *x, size_t begin, size_t end, char sign, bool is_variable)
{
    if (sign == '-') {
        end = strip_space(x, begin, end);
    } else if (sign != '+' && !is_variable) {
        size_t line = end;
        while (line > begin && x->s[line - 1] != '\n')
            line--;
        if ((line > begin || x->line_starting) && strip_space(x, line, end) == line) end = line;
    }
    if (end > begin) add(x, TOKEN_DATA, begin)->text = string_from(x->j, x->s + begin, end - begin, 0);
}

static char sign_at(const struct lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : '\0';
}

/* The end of a tag's closing "%}" or "#}" at `at`, with what is trimmed after it; 0 when none is there. */
static size_t closing_end(const struct lexer *x, size_t at, const char *closing)
{
    char sign = sign_at(x, at);
    size_t end = at + (sign ? 1 : 0);
    if (!starts(x, end, closing)) return 0;
    end += 2;
    if (sign == '-') return skip_space(x, end);
    return sign != '+' && end < x->n && x->s[end] == '\n' ? end + 1 : end;
}

static void end_tag(struct lexer *x, size_t end)
{
    x->at = end;
    x->line_starting = x->s[end - 1] == '\n';
}

static void lex_comment(struct lexer *x, size_t tag)
{
    for (size_t at = x->at; at < x->n; at++) {
        size_t end = closing_end(x, at, "#}");
        if (!end) continue;
        end_tag(x, end);
        return;
    }
    locate(x, tag);
    jinja_fail(x->j, "this comment has no end: '#}' is missing");
}

/* Does "{%" at `at` begin {% raw %} (or {% endraw %})? Gives where the name ended, or 0. */
static size_t raw_name_end(const struct lexer *x, size_t at, const char *name)
{
    at += 2;
    if (sign_at(x, at)) at++;
    at = skip_space(x, at);
    if (!starts(x, at, name)) return 0;
    return skip_space(x, at + strlen(name));
}

/* After {% raw %}: everything is text up to {% endraw %}. */
static void lex_raw(struct lexer *x, size_t tag)
{
    size_t begin = x->at;
    for (size_t at = begin; at + 1 < x->n; at++) {
        if (!starts(x, at, "{%")) continue;
        size_t name_end = raw_name_end(x, at, "endraw");
        size_t end = name_end ? closing_end(x, name_end, "%}") : 0;
        if (!end) continue;
        add_data(x, begin, at, sign_at(x, at + 2), false);
        end_tag(x, end);
        return;
    }
    locate(x, tag);
    jinja_fail(x->j, "this raw block has no end: '{%% endraw %%}' is missing");
}

static size_t digits_end(const struct lexer *x, size_t at, const char *digits)
{
    size_t end = at; /* digits, with single underscores between them */
    while (at < x->n) {
        if (x->s[at] == '_' && at + 1 < x->n) at++;
        if (!strchr(digits, x->s[at]) || x->s[at] == '\0') break;
        end = ++at;
    }
    return end;
}

static const char decimal[] = "0123456789";

static size_t float_end(const struct lexer *x, size_t at)
{
    if (at > 0 && x->s[at - 1] == '.') return 0;
    size_t whole = digits_end(x, at, decimal), end = whole, result = 0;
    if (end + 1 < x->n && x->s[end] == '.' && x->s[end + 1] != '_') {
        size_t fraction = digits_end(x, end + 1, decimal);
        if (fraction > end + 1) end = result = fraction;
    }
    if (end < x->n && (x->s[end] == 'e' || x->s[end] == 'E')) {
        size_t exponent = end + 1 + (sign_at(x, end + 1) ? 1 : 0);
        size_t last = exponent < x->n && x->s[exponent] != '_' ? digits_end(x, exponent, decimal) : exponent;
        if (last > exponent) result = last;
    }
    return result;
}

/* The digits of a number without underscores, as C reads them. */
static const char *number_text(struct lexer *x, size_t end)
{
    struct builder b = {.j = x->j};
    for (size_t i = x->at; i < end; i++)
        if (x->s[i] != '_') builder_bytes(&b, x->s + i, 1, 0);
    builder_bytes(&b, "", 1, 0);
    return builder_finish(&b)->bytes;
}

static void lex_number(struct lexer *x)
{
    size_t end = float_end(x, x->at);
    if (end) {
        struct token *token = add(x, TOKEN_FLOAT, x->at);
        token->real = strtod(number_text(x, end), NULL);
        x->at = end;
        return;
    }
    static const struct {
        char letter;
        int base;
        const char *digits;
    } prefixes[] = {{'b', 2, "01"}, {'o', 8, "01234567"}, {'x', 16, "0123456789abcdefABCDEF"}};
    struct token *token = add(x, TOKEN_INTEGER, x->at);
    int base = 10;
    size_t skip = 0;
    end = digits_end(x, x->at, x->s[x->at] == '0' ? "0" : decimal);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes && x->s[x->at] == '0' && x->at + 2 < x->n; i++) {
        if ((x->s[x->at + 1] | 32) != prefixes[i].letter) continue;
        size_t digits = digits_end(x, x->at + 2, prefixes[i].digits);
        if (digits == x->at + 2) continue;
        end = digits;
        base = prefixes[i].base;
        skip = 2;
    }
    const char *text = number_text(x, end) + skip;
    unsigned long long integer = 0;
    for (; *text; text++) {
        unsigned digit = (unsigned)(strchr("0123456789abcdef", *text | 32) - "0123456789abcdef");
        if (*text >= '0' && *text <= '9') digit = (unsigned)(*text - '0');
        if (__builtin_mul_overflow(integer, (unsigned long long)base, &integer) ||
            __builtin_add_overflow(integer, digit, &integer) || integer > INT64_MAX)
            jinja_fail(x->j, "this integer does not fit in 64 bits");
    }
    token->integer = (int64_t)integer;
    x->at = end;
}

/* The value of `count` hexadecimal digits at *at, which is moved past them. */
static uint32_t hex_escape(struct lexer *x, size_t *at, size_t end, int count)
{
    uint32_t c = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        const char *digit = *at < end && x->s[*at] ? strchr("0123456789abcdef", x->s[*at] | 32) : NULL;
        if (!digit || x->s[*at] < '0') jinja_fail(x->j, "an escape in this string needs %d hexadecimal digits", count);
        c = c << 4 | (uint32_t)(digit - "0123456789abcdef");
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) jinja_fail(x->j, "an escape in this string is not a character");
    return c;
}

/* One escape, *at being after the backslash. */
static void lex_escape(struct lexer *x, size_t *at, size_t end, struct builder *b)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    char c = x->s[(*at)++], bytes[4];
    const char *letter = c ? strchr(letters, c) : NULL;
    uint32_t code;
    if (c == '\n') return;
    if (letter) {
        builder_bytes(b, &meanings[letter - letters], 1, 0);
        return;
    }
    if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && *at < end && x->s[*at] >= '0' && x->s[*at] <= '7'; i++)
            code = code << 3 | (uint32_t)(x->s[(*at)++] - '0');
    } else if (c == 'x' || c == 'u' || c == 'U') {
        code = hex_escape(x, at, end, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    } else if (c == 'N') {
        jinja_fail(x->j, "characters by name (\\N{...}) are not supported");
    } else {
        builder_bytes(b, "\\", 1, 0); /* an unknown escape stays as it is */
        builder_bytes(b, &c, 1, 0);
        return;
    }
    builder_bytes(b, bytes, utf8_encode(code, bytes), 0);
}

static void lex_string(struct lexer *x)
{
    char quote = x->s[x->at];
    size_t end = x->at + 1;
    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    struct token *token = add(x, TOKEN_STRING, x->at);
    if (end >= x->n) jinja_fail(x->j, "this string has no end");
    struct builder b = {.j = x->j};
    for (size_t at = x->at + 1; at < end;) {
        size_t run = at;
        while (run < end && x->s[run] != '\\')
            run++;
        builder_bytes(&b, x->s + at, run - at, 0);
        at = run;
        if (at < end) {
            at++;
            lex_escape(x, &at, end, &b);
        }
    }
    token->text = builder_finish(&b);
    x->at = end + 1;
}

static void lex_name(struct lexer *x, size_t end)
{
    while (end < x->n) {
        uint32_t c;
        size_t n = utf8_decode(x->s + end, x->n - end, &c);
        if (!unicode_is_word(c)) break;
        end += n;
    }
    add(x, TOKEN_NAME, x->at)->text = string_from(x->j, x->s + x->at, end - x->at, 0);
    x->at = end;
}

static void balance(struct lexer *x, char c)
{
    const char *open = strchr("([{", c), *close = strchr(")]}", c);
    if (open) {
        if (x->n_closing == sizeof x->closing) jinja_fail(x->j, "brackets nest deeper than %d", JINJA_DEPTH_MAX);
        x->closing[x->n_closing++] = ")]}"[open - "([{"];
    } else if (close) {
        if (x->n_closing == 0) jinja_fail(x->j, "unexpected '%c'", c);
        char expected = x->closing[--x->n_closing];
        if (c != expected) jinja_fail(x->j, "unexpected '%c', expected '%c'", c, expected);
    }
}

static void lex_operator(struct lexer *x)
{
    static const char *const longer[] = {"//", "**", "==", "!=", ">=", "<="};
    struct token *token = add(x, TOKEN_OPERATOR, x->at);
    char c = x->s[x->at];
    size_t n = 1;
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
        if (starts(x, x->at, longer[i])) n = 2;
    if (n == 1 && (c == '\0' || !strchr("+-/*%~[](){}><=.:|,;", c))) {
        uint32_t code;
        utf8_decode(x->s + x->at, x->n - x->at, &code);
        jinja_fail(x->j, code >= 0x20 && code < 0x7f ? "unexpected character '%c'" : "unexpected character U+%04X",
                   code);
    }
    balance(x, c);
    memcpy(token->operator, x->s + x->at, n);
    x->at += n;
}

/* The tokens of one {{ }} or {% %}. */
static void lex_tag(struct lexer *x, bool is_variable)
{
    x->n_closing = 0;
    for (;;) {
        x->at = skip_space(x, x->at);
        if (x->at >= x->n) return; /* the parser says what is missing */
        if (x->n_closing == 0) {
            size_t end = 0;
            if (!is_variable)
                end = closing_end(x, x->at, "%}");
            else if (starts(x, x->at, "-}}"))
                end = skip_space(x, x->at + 3);
            else if (starts(x, x->at, "}}"))
                end = x->at + 2;
            if (end) {
                add(x, is_variable ? TOKEN_VARIABLE_END : TOKEN_BLOCK_END, x->at);
                end_tag(x, end);
                return;
            }
        }
        uint32_t c;
        size_t n = utf8_decode(x->s + x->at, x->n - x->at, &c);
        if (c >= '0' && c <= '9')
            lex_number(x);
        else if (unicode_is_word(c))
            lex_name(x, x->at + n);
        else if (c == '"' || c == '\'')
            lex_string(x);
        else
            lex_operator(x);
    }
}

/* Text up to the next tag, and that tag. */
static void lex_root(struct lexer *x)
{
    size_t begin = x->at, tag = begin;
    while (tag < x->n && !(starts(x, tag, "{{") || starts(x, tag, "{%") || starts(x, tag, "{#")))
        tag++;
    if (tag >= x->n) {
        add(x, TOKEN_DATA, begin)->text = string_from(x->j, x->s + begin, x->n - begin, 0);
        x->at = x->n;
        return;
    }
    char kind = x->s[tag + 1], sign = sign_at(x, tag + 2);
    add_data(x, begin, tag, sign, kind == '{');
    x->at = tag + 2 + (sign ? 1 : 0);
    if (kind == '#') {
        lex_comment(x, tag);
        return;
    }
    size_t raw = kind == '%' ? raw_name_end(x, tag, "raw") : 0;
    if (raw && (starts(x, raw, "%}") || starts(x, raw, "-%}"))) {
        end_tag(x, x->s[raw] == '-' ? skip_space(x, raw + 3) : raw + 2);
        lex_raw(x, tag);
        return;
    }
    add(x, kind == '{' ? TOKEN_VARIABLE_BEGIN : TOKEN_BLOCK_BEGIN, tag);
    lex_tag(x, kind == '{');
}

/* CR LF and CR become LF; one newline at the end goes. */
static size_t normalize(struct lexer *x, char *out, const char *source, size_t n)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') continue;
        out[length++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (length > 0 && out[length - 1] == '\n') length--;
    x->s = out;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t step = utf8_decode(out + at, length - at, &c);
        if (c == 0xfffd && step == 1) {
            locate(x, at);
            jinja_fail(x->j, "byte 0x%02x is not UTF-8", (unsigned)(unsigned char)out[at]);
        }
        at += step;
    }
    return length;
}

struct token *jinja_tokens(struct jinja *j, const char *source, size_t n)
{
    struct lexer *x = jinja_alloc(j, 1, sizeof *x);
    x->j = j;
    x->line = x->column = 1;
    x->line_starting = true;
    locate(x, 0);
    if (n > JINJA_SOURCE_MAX) jinja_fail(j, "the template is longer than %d bytes", JINJA_SOURCE_MAX);
    char *text = jinja_alloc(j, n + 1, 1);
    x->n = normalize(x, text, source, n);
    while (x->at < x->n)
        lex_root(x);
    add(x, TOKEN_END, x->n);
    return x->tokens;
}
