/* jinja_value.h - the values a chat template computes with, and the state of one compilation or rendering.
 *
 * Everything lives in the state's arena and is freed with it. A failure of any depth leaves through jinja_fail,
 * which jumps back to the entry point (chat.c): the code in between owns nothing, so it needs no clean-up, and the
 * interpreter reads like the language it interprets.
 *
 * Strings are immutable UTF-8 and know for each byte where it came from: mark 0 is the template's own text, mark 1 the
 * variables. Strings made from strings carry the marks along; comparisons ignore them.
 */
#ifndef STILE_TEXT_JINJA_VALUE_H
#define STILE_TEXT_JINJA_VALUE_H

#include "base/arena.h"
#include "base/error.h"

#include <jansson.h>
#include <setjmp.h>

enum {
    JINJA_DEPTH_MAX = 200,        /* default of chat_limits.depth_max, and the nesting of a template's source */
    JINJA_DEPTH_CEILING = 1000,   /* what the C stack surely holds */
    JINJA_MEMORY_MAX = 256 << 20, /* bytes allocated during one rendering */
    JINJA_SOURCE_MAX = 1 << 20,   /* bytes of a template */
    JINJA_RANGE_MAX = 100000,     /* items of range(), as in jinja2's sandbox */
    JINJA_WIDTH_MAX = 1 << 20,    /* field width in formats */
    JINJA_PARAMETERS_MAX = 5,     /* of a built-in function */
};

enum jinja_kind {
    JINJA_MISSING, /* an argument that was not given; never seen by a template */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_GENERATOR, /* what map, select and their like give: can be walked once */
    JINJA_DICT,
    JINJA_VIEW, /* dict.keys(), .values(), .items() */
    JINJA_RANGE,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION,
    JINJA_METHOD, /* a built-in function with the value it belongs to */
    JINJA_CYCLER,
    JINJA_JOINER,
};

struct string {
    const char *bytes;
    size_t n;
    const unsigned char *marks; /* one per byte; NULL: each byte has `mark` */
    unsigned char mark;
    bool safe; /* markupsafe's Markup: + and % escape what is added to it */
};

struct value {
    enum jinja_kind kind;
    union {
        bool truth;
        int64_t integer;
        double real;
        const struct string *string;    /* STRING; UNDEFINED: the name that had no value, or NULL */
        struct list *list;              /* LIST, TUPLE, GENERATOR */
        struct dict *dict;              /* DICT, NAMESPACE */
        struct view *view;              /* VIEW */
        struct range *range;            /* RANGE */
        struct loop *loop;              /* LOOP: jinja_run.c */
        struct macro *macro;            /* MACRO: jinja_run.c */
        const struct builtin *function; /* FUNCTION */
        struct method *method;          /* METHOD */
        struct cycle *cycle;            /* CYCLER, JOINER */
    } as;
};

struct list {
    struct value *items;
    size_t n;
    size_t capacity;
};

struct pair {
    struct value key, value;
};

struct dict {
    struct pair *pairs; /* in the order of insertion */
    size_t n;
    size_t capacity;
};

enum view_kind { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct view {
    struct dict *dict;
    enum view_kind kind;
};

struct range {
    int64_t start, stop, step;
    size_t n;
};

struct cycle {
    struct list items; /* JOINER: the separator alone */
    size_t at;
};

struct named_value {
    const struct string *name;
    struct value value;
};

/* Arguments of one call. `bound` is filled by jinja_bind: one value per parameter, MISSING where none was given. */
struct args {
    struct value *positional;
    size_t n;
    struct named_value *named;
    size_t n_named;
    struct value bound[JINJA_PARAMETERS_MAX];
};

struct jinja;

/* A filter, test, method or global function. A parameter whose name begins with '*' takes all arguments as they
 * came (args->positional, args->named); one that begins with '/' cannot be named. */
struct builtin {
    const char *name;
    struct value (*call)(struct jinja *j, struct value self, struct args *args);
    const char *parameters[JINJA_PARAMETERS_MAX];
    size_t n_required;
};

struct builtin_table {
    const struct builtin *all;
    size_t n;
};

struct method {
    struct value self;
    const struct builtin *builtin;
};

struct jinja {
    jmp_buf escape;
    int code; /* stile_code of the failure */
    struct stile_error *error;
    const char *name; /* of the template, for messages */
    struct arena arena;
    size_t memory_max;
    unsigned line, column; /* of what is being done */
    uint64_t steps, steps_max;
    uint32_t depth, depth_max;
    /* rendering only */
    int64_t now; /* seconds since 1970, for strftime_now */
    const json_t *variables;
    const char *const *trusted;
    const struct symbols *symbols;
    struct value *globals; /* by symbol; MISSING until first asked for */
    json_t *parsed;        /* what from_json is converting: freed by whoever ends the rendering */
};

/* ---- state ---- */

void jinja_fail(struct jinja *j, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* Zeroed memory; fails past the limit. */
void *jinja_alloc(struct jinja *j, size_t n, size_t size_bytes);
/* A larger array holding the n old elements; *capacity is updated. */
void *jinja_grow(struct jinja *j, const void *old, size_t n, size_t *capacity, size_t size_bytes);
/* Counts work: one step per node, more for work that grows with the data. */
void jinja_charge(struct jinja *j, uint64_t steps);
void jinja_enter(struct jinja *j); /* one level deeper: pair with jinja_leave */
void jinja_leave(struct jinja *j);

/* ---- making values ---- */

struct value jinja_undefined(const struct string *name);
struct value jinja_none(void);
struct value jinja_bool(bool truth);
struct value jinja_int(int64_t integer);
struct value jinja_float(double real);
struct value jinja_string(const struct string *string);
struct value jinja_text(struct jinja *j, const char *text); /* copies */
struct value jinja_list(struct jinja *j, enum jinja_kind kind, size_t capacity);
struct value jinja_pair(struct jinja *j, struct value a, struct value b); /* a tuple */
struct value jinja_dict(struct jinja *j, enum jinja_kind kind);
struct value jinja_view(struct jinja *j, struct dict *dict, enum view_kind kind);
/* The strings stay those of `json` unless `copy`. */
struct value jinja_from_json(struct jinja *j, const json_t *json, unsigned char mark, bool copy);
void jinja_append(struct jinja *j, struct value list, struct value item);
/* Fails for a key that cannot be one (a list, a dict). */
void jinja_put(struct jinja *j, struct dict *dict, struct value key, struct value value);
struct value *jinja_find(struct jinja *j, const struct dict *dict, struct value key);

/* ---- asking values ---- */

bool jinja_is_true(struct value v);
bool jinja_is_number(struct value v); /* bool, int or float */
double jinja_as_double(struct value v);
const char *jinja_type_name(struct value v); /* Python's */
bool jinja_equal(struct jinja *j, struct value a, struct value b);
/* < 0, 0, > 0; fails for kinds without order, `op` is for the message. NaN gives 2. */
int jinja_compare(struct jinja *j, struct value a, struct value b, const char *op);
bool jinja_has_length(struct jinja *j, struct value v, size_t *n);
bool jinja_is_iterable(struct value v);
/* The items of anything iterable, as they are now; a generator is used up. Fails for other kinds. */
struct list jinja_items(struct jinja *j, struct value v);
bool jinja_contains(struct jinja *j, struct value container, struct value item);
/* The argument as what is wanted, or a failure naming `what`. */
int64_t jinja_want_int(struct jinja *j, struct value v, const char *what);
const struct string *jinja_want_string(struct jinja *j, struct value v, const char *what);

/* ---- strings ---- */

/* A string that grows. */
struct builder {
    struct jinja *j;
    char *bytes;
    unsigned char *marks; /* NULL while all bytes have `mark` */
    size_t n, capacity;
    unsigned char mark;
    size_t limit; /* 0: none but memory */
};
void builder_bytes(struct builder *b, const char *bytes, size_t n, unsigned char mark);
void builder_text(struct builder *b, const char *text); /* the template's own */
void builder_slice(struct builder *b, const struct string *s, size_t begin, size_t end);
void builder_string(struct builder *b, const struct string *s);
void builder_repeat(struct builder *b, const struct string *s, int64_t times);
const struct string *builder_finish(struct builder *b);

const struct string *string_from(struct jinja *j, const char *bytes, size_t n, unsigned char mark); /* does not copy */
const struct string *string_slice(struct jinja *j, const struct string *s, size_t begin, size_t end);
const struct string *string_safe(struct jinja *j, const struct string *s, bool safe);
const struct string *string_join(struct jinja *j, const struct string *a, const struct string *b);
bool string_equal(const struct string *a, const struct string *b);
bool string_is(const struct string *s, const char *text);
unsigned char string_mark(const struct string *s, size_t at);
/* Offset of `part` in s at or after `from`; SIZE_MAX when absent. */
size_t string_search(struct jinja *j, const struct string *s, const struct string *part, size_t from);
/* & < > ' " as HTML entities; unchanged when it is safe already. The result is safe. */
const struct string *string_escape(struct jinja *j, const struct string *s);

/* ---- calls: jinja_call.c ---- */

extern const struct builtin_table jinja_string_methods, jinja_string_queries, jinja_list_methods, jinja_dict_methods,
    jinja_tuple_methods, jinja_loop_methods, jinja_cycler_methods, jinja_text_filters, jinja_sequence_filters,
    jinja_functions;

/* Calls a built-in after binding its parameters. */
struct value jinja_invoke(struct jinja *j, const struct builtin *builtin, struct value self, struct args *args);
struct value jinja_filter(struct jinja *j, const struct string *name, struct value self, struct args *args);
bool jinja_test(struct jinja *j, const struct string *name, struct value v, const struct args *args);
bool jinja_filter_exists(const struct string *name);
bool jinja_test_exists(const struct string *name);
/* Methods of strings, lists, dicts, cyclers and loops; NULL when there is none of that name. */
const struct builtin *jinja_method(struct value self, const struct string *name);
const struct builtin *jinja_function(const struct string *name);
/* Any value as a function: built-in, method, macro, loop. */
struct value jinja_call(struct jinja *j, struct value callee, struct args *args);

/* ---- printing: jinja_print.c ---- */

const struct string *jinja_str(struct jinja *j, struct value v);  /* Python's str() */
const struct string *jinja_repr(struct jinja *j, struct value v); /* Python's repr() */
void jinja_print(struct builder *b, struct value v);              /* appends str(v) */
enum { FLOAT_TEXT_BYTES = 40 };
/* Python's repr of a float: the shortest digits that read back the same. */
size_t jinja_float_text(double x, char out[FLOAT_TEXT_BYTES]);
struct json_style {
    const struct string *indent; /* NULL: one line */
    const struct string *item_separator, *key_separator;
    bool ascii, sort_keys;
};
void jinja_dump(struct builder *b, struct value v, const struct json_style *style);

/* ---- sorting: jinja_sequences.c ---- */

/* A list of pairs, by their first member, as Python sorts them. */
struct value jinja_sort_pairs(struct jinja *j, struct value pairs);

/* ---- operators: jinja_operators.c ---- */

enum jinja_operator { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW };
struct value jinja_binary(struct jinja *j, enum jinja_operator op, struct value a, struct value b);
struct value jinja_negate(struct jinja *j, struct value v);
struct value jinja_plus(struct jinja *j, struct value v);
struct value jinja_attribute(struct jinja *j, struct value v, const struct string *name);
struct value jinja_item(struct jinja *j, struct value v, struct value key);
struct value jinja_slice(struct jinja *j, struct value v, struct value start, struct value stop, struct value step);

/* ---- formats: jinja_format.c ---- */

struct value jinja_percent(struct jinja *j, const struct string *format, struct value arguments);
struct value jinja_format(struct jinja *j, const struct string *format, const struct args *args);

/* ---- characters: jinja_unicode.c ---- */

bool unicode_is_space(uint32_t c); /* as Python's str.isspace */
bool unicode_is_word(uint32_t c);  /* letters, marks, digits and _ : what identifiers are made of */
bool unicode_is_printable(uint32_t c);
enum unicode_class { UNICODE_ALPHA, UNICODE_DIGIT, UNICODE_NUMERIC, UNICODE_ALNUM, UNICODE_LOWER, UNICODE_UPPER };
bool unicode_is(uint32_t c, enum unicode_class class);
size_t unicode_length(const struct string *s);
/* Byte offset of code point i (0..length). */
size_t unicode_offset(const struct string *s, size_t i);
enum unicode_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITALIZE };
const struct string *unicode_case(struct jinja *j, const struct string *s, enum unicode_case how);
/* Length of the line break at `at`, 0 when there is none (Python's splitlines). */
size_t unicode_line_break(const struct string *s, size_t at);

#endif
