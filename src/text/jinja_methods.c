/* Methods of strings, as Python's str has them. */
#include "text/jinja_builtin.h"
#include "text/utf8.h"

#include <string.h>

static struct value upper(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, self.as.string, CASE_UPPER));
}

static struct value lower(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, self.as.string, CASE_LOWER));
}

static struct value title(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, self.as.string, CASE_TITLE));
}

static struct value capitalize(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_string(unicode_case(j, self.as.string, CASE_CAPITALIZE));
}

/* Is c to be stripped: white space, or one of `chars`? */
static bool is_stripped(uint32_t c, const struct string *chars)
{
    if (!chars) return unicode_is_space(c);
    for (size_t at = 0; at < chars->n;) {
        uint32_t other;
        at += utf8_decode(chars->bytes + at, chars->n - at, &other);
        if (c == other) return true;
    }
    return false;
}

const struct string *string_strip(struct jinja *j, const struct string *s, struct value chars, bool left, bool right)
{
    const struct string *set = NULL;
    if (chars.kind != JINJA_NONE && chars.kind != JINJA_MISSING)
        set = jinja_want_string(j, chars, "the characters to strip");
    uint64_t cost = set ? set->n / 16 + 1 : 1;
    size_t begin = 0, end = s->n;
    uint32_t c;
    while (left && begin < end) {
        size_t n = utf8_decode(s->bytes + begin, end - begin, &c);
        jinja_charge(j, cost);
        if (!is_stripped(c, set)) break;
        begin += n;
    }
    while (right && begin < end) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)s->bytes[at] & 0xc0) == 0x80)
            at--;
        utf8_decode(s->bytes + at, end - at, &c);
        jinja_charge(j, cost);
        if (!is_stripped(c, set)) break;
        end = at;
    }
    return string_slice(j, s, begin, end);
}

static struct value strip(struct jinja *j, struct value self, struct args *args)
{
    return jinja_string(string_strip(j, self.as.string, args->bound[0], true, true));
}

static struct value lstrip(struct jinja *j, struct value self, struct args *args)
{
    return jinja_string(string_strip(j, self.as.string, args->bound[0], true, false));
}

static struct value rstrip(struct jinja *j, struct value self, struct args *args)
{
    return jinja_string(string_strip(j, self.as.string, args->bound[0], false, true));
}

/* str.startswith and endswith: with one string or a tuple of them, between optional bounds. */
static struct value has_affix(struct jinja *j, struct value self, struct args *args, bool at_end)
{
    struct value start = args->bound[1].kind == JINJA_MISSING ? jinja_none() : args->bound[1];
    struct value stop = args->bound[2].kind == JINJA_MISSING ? jinja_none() : args->bound[2];
    const struct string *s = jinja_slice(j, self, start, stop, jinja_none()).as.string;
    struct list affixes = {.items = &args->bound[0], .n = 1};
    if (args->bound[0].kind == JINJA_TUPLE) affixes = *args->bound[0].as.list;
    for (size_t i = 0; i < affixes.n; i++) {
        const struct string *affix = jinja_want_string(j, affixes.items[i], at_end ? "a suffix" : "a prefix");
        if (affix->n > s->n) continue;
        if (memcmp(s->bytes + (at_end ? s->n - affix->n : 0), affix->bytes, affix->n) == 0) return jinja_bool(true);
    }
    return jinja_bool(false);
}

static struct value startswith(struct jinja *j, struct value self, struct args *args)
{
    return has_affix(j, self, args, false);
}

static struct value endswith(struct jinja *j, struct value self, struct args *args)
{
    return has_affix(j, self, args, true);
}

static struct value removeprefix(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string, *affix = jinja_want_string(j, args->bound[0], "a prefix");
    bool has = affix->n <= s->n && memcmp(s->bytes, affix->bytes, affix->n) == 0;
    return jinja_string(has ? string_slice(j, s, affix->n, s->n) : s);
}

static struct value removesuffix(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string, *affix = jinja_want_string(j, args->bound[0], "a suffix");
    bool has = affix->n <= s->n && memcmp(s->bytes + s->n - affix->n, affix->bytes, affix->n) == 0;
    return jinja_string(has ? string_slice(j, s, 0, s->n - affix->n) : s);
}

/* ---- splitting ---- */

static int64_t limit_of(struct jinja *j, struct value v)
{
    int64_t limit = v.kind == JINJA_MISSING ? -1 : jinja_want_int(j, v, "a number of splits");
    return limit < 0 ? INT64_MAX : limit;
}

/* The next run of characters that are (not) white space from `at`. */
static size_t skip(const struct string *s, size_t at, bool spaces)
{
    while (at < s->n) {
        uint32_t c;
        size_t n = utf8_decode(s->bytes + at, s->n - at, &c);
        if (unicode_is_space(c) != spaces) break;
        at += n;
    }
    return at;
}

static struct value split_space(struct jinja *j, const struct string *s, int64_t limit)
{
    struct value out = jinja_list(j, JINJA_LIST, 0);
    jinja_charge(j, s->n / 8);
    for (size_t at = skip(s, 0, true); at < s->n; limit--) {
        size_t end = limit > 0 ? skip(s, at, false) : s->n;
        jinja_append(j, out, jinja_string(string_slice(j, s, at, end)));
        at = skip(s, end, true);
    }
    return out;
}

static void reverse_list(struct list *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        struct value other = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = list->items[i];
        list->items[i] = other;
    }
}

/* The last white-space character in [0, end): its offset plus its length; 0 when there is none. */
static size_t last_word(const struct string *s, size_t end)
{
    while (end > 0) {
        size_t at = end - 1;
        uint32_t c;
        while (at > 0 && ((unsigned char)s->bytes[at] & 0xc0) == 0x80)
            at--;
        utf8_decode(s->bytes + at, end - at, &c);
        if (unicode_is_space(c)) return end;
        end = at;
    }
    return 0;
}

static struct value rsplit_space(struct jinja *j, const struct string *s, int64_t limit)
{
    struct value out = jinja_list(j, JINJA_LIST, 0);
    jinja_charge(j, s->n / 8);
    s = string_strip(j, s, jinja_none(), false, true);
    for (; s->n > 0; limit--) {
        size_t begin = limit > 0 ? last_word(s, s->n) : 0;
        jinja_append(j, out, jinja_string(string_slice(j, s, begin, s->n)));
        s = string_strip(j, string_slice(j, s, 0, begin), jinja_none(), false, true);
    }
    reverse_list(out.as.list);
    return out;
}

/* The last occurrence of `part` that ends at or before `end`; SIZE_MAX when there is none. */
static size_t search_back(struct jinja *j, const struct string *s, const struct string *part, size_t end)
{
    for (size_t at = end < part->n ? 0 : end - part->n + 1; at-- > 0;) {
        jinja_charge(j, part->n / 64 + ((at & 7) == 0));
        if (memcmp(s->bytes + at, part->bytes, part->n) == 0) return at;
    }
    return SIZE_MAX;
}

static const struct string *separator_of(struct jinja *j, struct value v)
{
    const struct string *separator = jinja_want_string(j, v, "a separator");
    if (separator->n == 0) jinja_fail(j, "empty separator");
    return separator;
}

static bool is_given(struct value v)
{
    return v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
}

static struct value split(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string;
    int64_t limit = limit_of(j, args->bound[1]);
    if (!is_given(args->bound[0])) return split_space(j, s, limit);
    const struct string *separator = separator_of(j, args->bound[0]);
    struct value out = jinja_list(j, JINJA_LIST, 0);
    size_t begin = 0, at;
    while (limit-- > 0 && (at = string_search(j, s, separator, begin)) != SIZE_MAX) {
        jinja_append(j, out, jinja_string(string_slice(j, s, begin, at)));
        begin = at + separator->n;
    }
    jinja_append(j, out, jinja_string(string_slice(j, s, begin, s->n)));
    return out;
}

static struct value rsplit(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string;
    int64_t limit = limit_of(j, args->bound[1]);
    if (!is_given(args->bound[0])) return rsplit_space(j, s, limit);
    const struct string *separator = separator_of(j, args->bound[0]);
    struct value out = jinja_list(j, JINJA_LIST, 0);
    size_t end = s->n, at;
    while (limit-- > 0 && (at = search_back(j, s, separator, end)) != SIZE_MAX) {
        jinja_append(j, out, jinja_string(string_slice(j, s, at + separator->n, end)));
        end = at;
    }
    jinja_append(j, out, jinja_string(string_slice(j, s, 0, end)));
    reverse_list(out.as.list);
    return out;
}

static struct value partition_at(struct jinja *j, const struct string *s, size_t at, size_t n, bool from_end)
{
    struct value out = jinja_list(j, JINJA_TUPLE, 3);
    size_t first = at == SIZE_MAX ? (from_end ? 0 : s->n) : at, second = at == SIZE_MAX ? first : at + n;
    jinja_append(j, out, jinja_string(string_slice(j, s, 0, first)));
    jinja_append(j, out, jinja_string(string_slice(j, s, first, second)));
    jinja_append(j, out, jinja_string(string_slice(j, s, second, s->n)));
    return out;
}

static struct value partition(struct jinja *j, struct value self, struct args *args)
{
    const struct string *separator = separator_of(j, args->bound[0]);
    return partition_at(j, self.as.string, string_search(j, self.as.string, separator, 0), separator->n, false);
}

static struct value rpartition(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string, *separator = separator_of(j, args->bound[0]);
    return partition_at(j, s, search_back(j, s, separator, s->n), separator->n, true);
}

struct value string_lines(struct jinja *j, const struct string *s, bool keep_ends)
{
    struct value out = jinja_list(j, JINJA_LIST, 0);
    jinja_charge(j, s->n / 8);
    for (size_t begin = 0, at = 0; at < s->n;) {
        size_t n = unicode_line_break(s, at);
        if (n == 0 && at + 1 < s->n) {
            at++;
            continue;
        }
        size_t end = n == 0 ? s->n : at, next = n == 0 ? s->n : at + n;
        jinja_append(j, out, jinja_string(string_slice(j, s, begin, keep_ends ? next : end)));
        begin = at = next;
    }
    return out;
}

static struct value splitlines(struct jinja *j, struct value self, struct args *args)
{
    return string_lines(j, self.as.string, jinja_is_true(args->bound[0]));
}

/* ---- searching and replacing ---- */

/* The part of the string between the bounds in bound[1] and bound[2], and how many characters stand before it. */
static const struct string *window(struct jinja *j, struct value self, struct args *args, int64_t *skipped)
{
    struct value start = args->bound[1].kind == JINJA_MISSING ? jinja_none() : args->bound[1];
    struct value stop = args->bound[2].kind == JINJA_MISSING ? jinja_none() : args->bound[2];
    const struct string *part = jinja_slice(j, self, start, stop, jinja_none()).as.string;
    *skipped = (int64_t)unicode_length(
        &(struct string){.bytes = self.as.string->bytes, .n = (size_t)(part->bytes - self.as.string->bytes)});
    return part;
}

static int64_t find_in(struct jinja *j, struct value self, struct args *args, bool last)
{
    const struct string *needle = jinja_want_string(j, args->bound[0], "what to find");
    int64_t skipped;
    const struct string *s = window(j, self, args, &skipped);
    size_t at = last ? search_back(j, s, needle, s->n) : string_search(j, s, needle, 0);
    if (at == SIZE_MAX) return -1;
    return skipped + (int64_t)unicode_length(&(struct string){.bytes = s->bytes, .n = at});
}

static struct value find(struct jinja *j, struct value self, struct args *args)
{
    return jinja_int(find_in(j, self, args, false));
}

static struct value rfind(struct jinja *j, struct value self, struct args *args)
{
    return jinja_int(find_in(j, self, args, true));
}

static struct value string_index(struct jinja *j, struct value self, struct args *args)
{
    int64_t at = find_in(j, self, args, false);
    if (at < 0) jinja_fail(j, "substring not found");
    return jinja_int(at);
}

static struct value string_rindex(struct jinja *j, struct value self, struct args *args)
{
    int64_t at = find_in(j, self, args, true);
    if (at < 0) jinja_fail(j, "substring not found");
    return jinja_int(at);
}

static struct value count(struct jinja *j, struct value self, struct args *args)
{
    const struct string *needle = jinja_want_string(j, args->bound[0], "what to count");
    int64_t n = 0, skipped;
    const struct string *s = window(j, self, args, &skipped);
    if (needle->n == 0) return jinja_int((int64_t)unicode_length(s) + 1);
    for (size_t at = 0; (at = string_search(j, s, needle, at)) != SIZE_MAX; at += needle->n)
        n++;
    return jinja_int(n);
}

const struct string *string_replace(struct jinja *j, const struct string *s, const struct string *old,
                                    const struct string *new, int64_t limit)
{
    struct builder b = {.j = j};
    size_t begin = 0, at = 0;
    if (limit < 0) limit = INT64_MAX;
    while (limit-- > 0 && (at = string_search(j, s, old, at)) != SIZE_MAX) {
        builder_slice(&b, s, begin, at);
        builder_string(&b, new);
        begin = at + old->n;
        at = begin;
        if (old->n == 0) { /* before each character, and at the end */
            uint32_t c;
            if (at == s->n) break;
            at += utf8_decode(s->bytes + at, s->n - at, &c);
        }
    }
    builder_slice(&b, s, begin, s->n);
    return builder_finish(&b);
}

static struct value replace(struct jinja *j, struct value self, struct args *args)
{
    const struct string *s = self.as.string, *old = jinja_want_string(j, args->bound[0], "what to replace");
    const struct string *new = jinja_want_string(j, args->bound[1], "the replacement");
    int64_t limit = args->bound[2].kind == JINJA_MISSING ? -1 : jinja_want_int(j, args->bound[2], "a count");
    if (s->safe) new = string_escape(j, new);
    return jinja_string(string_safe(j, string_replace(j, s, old, new, limit), s->safe));
}

static struct value join(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, args->bound[0]);
    struct builder b = {.j = j};
    bool safe = self.as.string->safe;
    for (size_t i = 0; i < items.n; i++) {
        const struct string *item =
            safe ? jinja_str(j, items.items[i]) : jinja_want_string(j, items.items[i], "each item of join");
        if (i > 0) builder_string(&b, self.as.string);
        builder_string(&b, safe ? string_escape(j, item) : item);
    }
    return jinja_string(string_safe(j, builder_finish(&b), safe));
}

static struct value format(struct jinja *j, struct value self, struct args *args)
{
    return jinja_format(j, self.as.string, args);
}

static const struct builtin methods[] = {
    {"upper", upper, {NULL}, 0},
    {"lower", lower, {NULL}, 0},
    {"title", title, {NULL}, 0},
    {"capitalize", capitalize, {NULL}, 0},
    {"strip", strip, {"/chars"}, 0},
    {"lstrip", lstrip, {"/chars"}, 0},
    {"rstrip", rstrip, {"/chars"}, 0},
    {"startswith", startswith, {"/prefix", "/start", "/end"}, 1},
    {"endswith", endswith, {"/suffix", "/start", "/end"}, 1},
    {"removeprefix", removeprefix, {"/prefix"}, 1},
    {"removesuffix", removesuffix, {"/suffix"}, 1},
    {"split", split, {"sep", "maxsplit"}, 0},
    {"rsplit", rsplit, {"sep", "maxsplit"}, 0},
    {"partition", partition, {"/sep"}, 1},
    {"rpartition", rpartition, {"/sep"}, 1},
    {"splitlines", splitlines, {"keepends"}, 0},
    {"find", find, {"/sub", "/start", "/end"}, 1},
    {"rfind", rfind, {"/sub", "/start", "/end"}, 1},
    {"index", string_index, {"/sub", "/start", "/end"}, 1},
    {"rindex", string_rindex, {"/sub", "/start", "/end"}, 1},
    {"count", count, {"/sub", "/start", "/end"}, 1},
    {"replace", replace, {"/old", "/new", "/count"}, 2},
    {"join", join, {"/iterable"}, 1},
    {"format", format, {"*"}, 0},
};
const struct builtin_table jinja_string_methods = {methods, sizeof methods / sizeof *methods};
