#include "hostile.h"
#include "gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a case starts from. */
enum base { SMALL, TINY, MIXTURE, SHARDS };

/* The one thing that is changed. Patches overwrite a field and leave everything else where it was. */
enum kind {
    NOTHING,
    PATCH_MAGIC, /* text */
    PATCH_VERSION,
    PATCH_N_TENSORS,
    PATCH_N_KV,
    PATCH_KEY_LENGTH, /* of key-value `item`, as the next five */
    PATCH_KEY_BYTE,
    PATCH_TYPE,
    PATCH_LENGTH, /* of a string value */
    PATCH_ELEMENT,
    PATCH_COUNT,
    PATCH_NAME_LENGTH, /* of tensor `item`, as those up to CUT */
    PATCH_NAME_BYTE,
    PATCH_N_DIMS,
    PATCH_DIM0,
    PATCH_DIM1,
    PATCH_FORMAT,
    PATCH_OFFSET,
    CUT,           /* the file ends after `number` bytes */
    CUT_IN_KV,     /* inside the record of key-value `item` */
    CUT_IN_TENSOR, /* inside the record of tensor `item` */
    CUT_DATA,      /* before the data */
    CUT_LAST_BYTE, /* of the last tensor */
    SET_U32,       /* key `text`, number */
    SET_I32,
    SET_F32,     /* key `text`, real */
    SET_STRING,  /* key `text`, string */
    DROP_KEY,    /* text */
    DROP_TENSOR, /* text */
    SHAPE,       /* tensor `text` gets dims, and the F32 data they ask for */
    CLAIM,       /* tensor `text` gets dims and format `number`, and no data */
    MISSING,     /* shard `shard` is not there */
    CALL,
};

struct hostile_case {
    const char *name;
    enum hostile_level level;
    const char *expected;
    enum base base;
    enum kind kind;
    size_t item;
    uint64_t number;
    double real;
    const char *text, *string;
    void (*call)(struct gguf_write *file, const struct hostile_case *c);
    uint32_t n_dims;
    uint64_t dims[3];
    size_t shard, open; /* SHARDS: which is changed, which is opened */
};

/* ---- bases ------------------------------------------------------------------------------------- */

enum { KV_ARCHITECTURE, KV_NUMBER, KV_STRINGS, KV_NUMBERS, KV_TAIL };

static const uint64_t dims_a[] = {8, 2}, dims_b[] = {32, 2}, dims_c[] = {4, 2, 2, 2};

static void small_keys(struct gguf_write *file)
{
    gguf_write_init(file);
    gguf_write_string(file, "general.architecture", "none");
    gguf_write_u32(file, "test.number", 7);
    struct gguf_write_kv *kv = gguf_write_array(file, "test.strings", GGUF_STRING, 2);
    gguf_put_string(&kv->value, "one", 3);
    gguf_put_string(&kv->value, "", 0);
    kv = gguf_write_array(file, "test.numbers", GGUF_U32, 3);
    for (uint32_t i = 0; i < 3; i++)
        gguf_put_u32(&kv->value, i);
    gguf_write_string(file, "test.tail", "tail");
}

/* Data: a 64 bytes at 0, b 68 at 64, c 64 at 160. */
static void small_file(struct gguf_write *file)
{
    small_keys(file);
    gguf_write_tensor(file, "a", FORMAT_F32, 2, dims_a);
    gguf_write_tensor(file, "b", FORMAT_Q8_0, 2, dims_b);
    gguf_write_tensor(file, "c", FORMAT_F16, 4, dims_c);
}

static void put_u16(struct gguf_write *file, const char *key, uint16_t value)
{
    buffer_add(&gguf_write_key(file, key, GGUF_U16)->value, &value, sizeof value);
}

/* Three files, tensors a, b and c. */
static void shard_file(struct gguf_write *file, size_t i)
{
    static const char *const names[] = {"a", "b", "c"};
    if (i == 0)
        small_keys(file);
    else
        gguf_write_init(file);
    put_u16(file, "split.no", (uint16_t)i);
    put_u16(file, "split.count", 3);
    gguf_write_i32(file, "split.tensors.count", 3);
    gguf_write_tensor(file, names[i], FORMAT_F32, 2, dims_a);
}

/* ---- changes that take more than a field ------------------------------------------------------- */

static char *repeated(char c, size_t n)
{
    char *text = malloc(n + 1);
    if (!text) abort();
    memset(text, c, n);
    text[n] = '\0';
    return text;
}

static void rename_key(struct gguf_write *file, const struct hostile_case *c)
{
    struct gguf_write_kv *kv = &file->kv[c->item];
    free(kv->key);
    kv->key = c->text ? strdup(c->text) : repeated('k', c->number);
    kv->n_key = strlen(kv->key);
}

static void rename_tensor(struct gguf_write *file, const struct hostile_case *c)
{
    struct gguf_write_tensor *tensor = &file->tensors[c->item];
    free(tensor->name);
    tensor->name = c->text ? strdup(c->text) : repeated('n', c->number);
    tensor->n_name = strlen(tensor->name);
}

static void claim(struct gguf_write *file, const struct hostile_case *c)
{
    struct gguf_write_tensor *tensor = gguf_write_tensor(file, c->text, (uint32_t)c->number, 0, NULL);
    buffer_free(&tensor->data);
    tensor->n_dims = c->n_dims;
    memcpy(tensor->dims, c->dims, sizeof c->dims);
}

static void alignment(struct gguf_write *file, const struct hostile_case *c)
{
    gguf_write_u32(file, "general.alignment", (uint32_t)c->number);
    file->alignment = c->number;
}

static void alignment_u64(struct gguf_write *file, const struct hostile_case *c)
{
    gguf_write_u64(file, "general.alignment", c->number);
}

static void version(struct gguf_write *file, const struct hostile_case *c)
{
    file->version = (uint32_t)c->number;
}

/* b, now the last, is no multiple of the alignment */
static void no_last_padding(struct gguf_write *file, const struct hostile_case *c)
{
    (void)c;
    gguf_write_drop_tensor(file, "c");
    file->pad_last = false;
}

/* Tensors without elements where no other could stand: inside of one, and behind the end of the file. */
static void zero_elements(struct gguf_write *file, const struct hostile_case *c)
{
    (void)c;
    static const uint64_t dims[] = {32, 0};
    struct gguf_write_tensor *zero = gguf_write_tensor(file, "zero inside", FORMAT_Q4_0, 2, dims);
    zero->offset_fixed = true;
    zero->offset = 32;
    gguf_write_tensor(file, "not zero", FORMAT_F16, 1, dims_a);
    gguf_write_tensor(file, "zero at the end", FORMAT_F32, 2, dims);
    file->pad_last = false;
}

/* a and c change places: a stands at 160, b at 64, c at 0 */
static void unordered(struct gguf_write *file, const struct hostile_case *c)
{
    (void)c;
    file->tensors[0].offset_fixed = file->tensors[2].offset_fixed = true;
    file->tensors[0].offset = 160;
    file->tensors[2].offset = 0;
}

static void only(struct gguf_write *file, const struct hostile_case *c)
{
    while (file->n_kv > c->item)
        gguf_write_drop_key(file, file->kv[0].key);
    while (file->n_tensors > c->number)
        gguf_write_drop_tensor(file, file->tensors[0].name);
}

static void every_type(struct gguf_write *file, const struct hostile_case *c)
{
    static const size_t bytes[GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
    char key[32], zeros[16] = {0};
    (void)c;
    for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++) {
        if (type == GGUF_ARRAY) continue;
        snprintf(key, sizeof key, "type.%u", type);
        buffer_add(&gguf_write_key(file, key, type)->value, zeros, bytes[type]);
        snprintf(key, sizeof key, "array.%u", type);
        buffer_add(&gguf_write_array(file, key, type, 2)->value, zeros, 2 * bytes[type]);
        snprintf(key, sizeof key, "empty.%u", type);
        gguf_write_array(file, key, type, 0);
    }
}

static void every_format(struct gguf_write *file, const struct hostile_case *c)
{
    static const uint64_t dims[] = {256};
    (void)c;
    for (uint32_t id = 0; id < FORMAT_COUNT; id++)
        if (format_info(id)) gguf_write_tensor(file, format_info(id)->name, id, 1, dims);
}

/* An array of `item` zeros of type `number` in place of key `text`. */
static void array_of(struct gguf_write *file, const struct hostile_case *c)
{
    struct gguf_write_kv *kv = gguf_write_array(file, c->text, (uint32_t)c->number, c->item);
    for (size_t i = 0; i < c->item; i++)
        if (c->number == GGUF_STRING)
            gguf_put_string(&kv->value, "a", 1);
        else
            gguf_put_u32(&kv->value, 0);
}

/* Token `item` spelled `text` (or `number` letters), or of type `number`; merge `item` spelled `text`. */
static void token_text(struct gguf_write *file, const struct hostile_case *c)
{
    struct tiny_vocab vocab;
    char *text = c->text ? strdup(c->text) : repeated('t', c->number);
    tiny_vocab(&vocab);
    vocab.texts[c->item] = text;
    gguf_write_vocab(file, &vocab);
    free(text);
}

static void token_type(struct gguf_write *file, const struct hostile_case *c)
{
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.types[c->item] = (int32_t)c->number;
    gguf_write_vocab(file, &vocab);
}

static void merge_text(struct gguf_write *file, const struct hostile_case *c)
{
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    vocab.merges[c->item] = c->text;
    gguf_write_vocab(file, &vocab);
}

static void weight_format(struct gguf_write *file, const struct hostile_case *c)
{
    struct gguf_write_tensor *tensor = gguf_write_get_tensor(file, c->text);
    uint64_t dims[2] = {tensor->dims[0], tensor->dims[1]};
    gguf_write_tensor(file, c->text, (uint32_t)c->number, tensor->n_dims, dims);
}

static void string_with_nul(struct gguf_write *file, const struct hostile_case *c)
{
    gguf_put_string(&gguf_write_key(file, c->text, GGUF_STRING)->value, "llama\0x", 7);
}

static void template_long(struct gguf_write *file, const struct hostile_case *c)
{
    char *text = repeated('{', c->number);
    gguf_write_string(file, "tokenizer.chat_template", text);
    free(text);
}

/* ---- the table --------------------------------------------------------------------------------- */

#define DAMAGED(n, what, ...)                                           \
    {                                                                   \
        .name = n, .level = HOSTILE_GGUF, .expected = what, __VA_ARGS__ \
    }
#define RIGHT(n, ...)                                  \
    {                                                  \
        .name = n, .level = HOSTILE_VALID, __VA_ARGS__ \
    }
#define SHARD(n, i, what, ...)                                                                      \
    {                                                                                               \
        .name = n, .level = HOSTILE_GGUF, .base = SHARDS, .shard = i, .expected = what, __VA_ARGS__ \
    }
#define MODEL(n, what, ...)                                                            \
    {                                                                                  \
        .name = n, .level = HOSTILE_MODEL, .base = TINY, .expected = what, __VA_ARGS__ \
    }
#define MIXED(n, what, ...)                                                               \
    {                                                                                     \
        .name = n, .level = HOSTILE_MODEL, .base = MIXTURE, .expected = what, __VA_ARGS__ \
    }
#define CHAT(n, source)                                                                             \
    {                                                                                               \
        .name = n, .level = HOSTILE_CHAT, .base = TINY, .expected = "template", .kind = SET_STRING, \
        .text = "tokenizer.chat_template", .string = source                                         \
    }
#define FIELD(k, i, n)             .kind = k, .item = i, .number = n
#define BY(...)                    .kind = CALL, .call = __VA_ARGS__
#define U32(key, n)                .kind = SET_U32, .text = key, .number = n
#define I32(key, n)                .kind = SET_I32, .text = key, .number = (uint64_t)(n)
#define F32(key, x)                .kind = SET_F32, .text = key, .real = x
#define STRING(key, s)             .kind = SET_STRING, .text = key, .string = s
#define NO_KEY(key)                .kind = DROP_KEY, .text = key
#define NO_TENSOR(key)             .kind = DROP_TENSOR, .text = key
#define DIMS(k, name, format, ...) .kind = k, .text = name, .number = format, .dims = {__VA_ARGS__}

static const struct hostile_case cases[] = {
    /* header */
    DAMAGED("empty-file", "the file is empty", FIELD(CUT, 0, 0)),
    DAMAGED("one-byte", "needs 4 bytes", FIELD(CUT, 0, 1)),
    DAMAGED("bad-magic", "not a GGUF file", .kind = PATCH_MAGIC, .text = "GGML"),
    DAMAGED("web-page", "not a GGUF file", .kind = PATCH_MAGIC, .text = "<!DO"),
    DAMAGED("version-0", "version 0", FIELD(PATCH_VERSION, 0, 0)),
    DAMAGED("version-1", "version 1 is obsolete", FIELD(PATCH_VERSION, 0, 1)),
    DAMAGED("version-4", "version 4 is unknown", FIELD(PATCH_VERSION, 0, 4)),
    DAMAGED("version-max", "version 4294967295 is unknown", FIELD(PATCH_VERSION, 0, UINT32_MAX)),
    DAMAGED("big-endian-3", "big-endian", FIELD(PATCH_VERSION, 0, 0x03000000)),
    DAMAGED("big-endian-2", "big-endian", FIELD(PATCH_VERSION, 0, 0x02000000)),
    DAMAGED("cut-in-version", "version needs 4 bytes", FIELD(CUT, 0, 7)),
    DAMAGED("cut-in-header", "tensor count 3 needs more bytes", FIELD(CUT, 0, 20)),
    DAMAGED("n-tensors-max", "offset 8: tensor count 18446744073709551615 needs more bytes than the file has",
            FIELD(PATCH_N_TENSORS, 0, UINT64_MAX)),
    DAMAGED("n-tensors-negative", "needs more bytes than the file has", FIELD(PATCH_N_TENSORS, 0, 1ull << 63)),
    DAMAGED("n-tensors-wraps", "needs more bytes than the file has", FIELD(PATCH_N_TENSORS, 0, UINT64_MAX / 24 + 2)),
    DAMAGED("n-tensors-1000", "tensor count 1000 needs more bytes", FIELD(PATCH_N_TENSORS, 0, 1000)),
    DAMAGED("n-tensors-one-more", "tensor 3", FIELD(PATCH_N_TENSORS, 0, 4)),
    DAMAGED("n-kv-max", "offset 16: key-value count 18446744073709551615 needs more bytes than the file has",
            FIELD(PATCH_N_KV, 0, UINT64_MAX)),
    DAMAGED("n-kv-negative", "needs more bytes than the file has", FIELD(PATCH_N_KV, 0, 1ull << 63)),
    DAMAGED("n-kv-wraps", "needs more bytes than the file has", FIELD(PATCH_N_KV, 0, UINT64_MAX / 13 + 2)),
    DAMAGED("n-kv-one-more", "tensor 0: tensor name of", FIELD(PATCH_N_KV, 0, 6)),
    DAMAGED("n-kv-one-less", "tensor 'test.tail'", FIELD(PATCH_N_KV, 0, 4)),

    /* key-values */
    DAMAGED("key-length-max", "key of 18446744073709551615 bytes",
            FIELD(PATCH_KEY_LENGTH, KV_ARCHITECTURE, UINT64_MAX)),
    DAMAGED("key-length-past-end", "key needs 60000 bytes", FIELD(PATCH_KEY_LENGTH, KV_TAIL, 60000)),
    DAMAGED("key-empty", "key is empty", BY(rename_key, .item = KV_NUMBER, .text = "")),
    DAMAGED("key-65536", "longer than the 65535", BY(rename_key, .item = KV_NUMBER, .number = 65536)),
    DAMAGED("key-nul", "key holds a NUL", FIELD(PATCH_KEY_BYTE, KV_NUMBER, 0)),
    DAMAGED("key-twice", "key 'test.number' appears twice", BY(rename_key, .item = KV_TAIL, .text = "test.number")),
    DAMAGED("type-13", "value type 13", FIELD(PATCH_TYPE, KV_NUMBER, 13)),
    DAMAGED("type-max", "value type 4294967295", FIELD(PATCH_TYPE, KV_NUMBER, UINT32_MAX)),
    DAMAGED("string-max", "string length 18446744073709551615 needs more",
            FIELD(PATCH_LENGTH, KV_ARCHITECTURE, UINT64_MAX)),
    DAMAGED("string-wraps", "string length 18446744073709551608 needs more",
            FIELD(PATCH_LENGTH, KV_ARCHITECTURE, UINT64_MAX - 7)),
    DAMAGED("string-past-end", "string length 100000 needs more", FIELD(PATCH_LENGTH, KV_TAIL, 100000)),
    DAMAGED("array-of-arrays", "arrays of arrays", FIELD(PATCH_ELEMENT, KV_NUMBERS, GGUF_ARRAY)),
    DAMAGED("array-type-13", "element type 13", FIELD(PATCH_ELEMENT, KV_NUMBERS, 13)),
    DAMAGED("array-max", "array count 18446744073709551615 needs more", FIELD(PATCH_COUNT, KV_NUMBERS, UINT64_MAX)),
    DAMAGED("array-wraps", "array count 4611686018427387904 needs more", FIELD(PATCH_COUNT, KV_NUMBERS, 1ull << 62)),
    DAMAGED("array-past-end", "array count 1000 needs more", FIELD(PATCH_COUNT, KV_NUMBERS, 1000)),
    DAMAGED("strings-max", "array count 18446744073709551615 needs more", FIELD(PATCH_COUNT, KV_STRINGS, UINT64_MAX)),
    DAMAGED("strings-wrap", "array count 2305843009213693952 needs more", FIELD(PATCH_COUNT, KV_STRINGS, 1ull << 61)),
    DAMAGED("strings-past-end", "array count 1000 needs more", FIELD(PATCH_COUNT, KV_STRINGS, 1000)),
    DAMAGED("strings-one-more", "key-value 3: key of", FIELD(PATCH_COUNT, KV_STRINGS, 3)),
    DAMAGED("cut-in-key-value", "key-value 'test.strings'", FIELD(CUT_IN_KV, KV_STRINGS, 0)),
    DAMAGED("alignment-0", "general.alignment 0", U32("general.alignment", 0)),
    DAMAGED("alignment-1", "general.alignment 1", U32("general.alignment", 1)),
    DAMAGED("alignment-48", "general.alignment 48", U32("general.alignment", 48)),
    DAMAGED("alignment-2-21", "general.alignment 2097152", U32("general.alignment", 1 << 21)),
    DAMAGED("alignment-2-31", "general.alignment 2147483648", U32("general.alignment", 1u << 31)),
    DAMAGED("alignment-u64", "general.alignment is not of type u32", BY(alignment_u64, .number = 32)),
    DAMAGED("alignment-string", "general.alignment is not of type u32", STRING("general.alignment", "32")),
    DAMAGED("alignment-not-kept", "not a multiple of the alignment 64", U32("general.alignment", 64)),

    /* tensor table */
    DAMAGED("name-length-max", "tensor name of 18446744073709551615 bytes", FIELD(PATCH_NAME_LENGTH, 0, UINT64_MAX)),
    DAMAGED("name-64", "longer than the 63", BY(rename_tensor, .item = 0, .number = 64)),
    DAMAGED("name-empty", "tensor name is empty", BY(rename_tensor, .item = 1, .text = "")),
    DAMAGED("name-nul", "tensor name holds a NUL", FIELD(PATCH_NAME_BYTE, 1, 0)),
    DAMAGED("name-twice", "tensor name 'a' appears twice", BY(rename_tensor, .item = 2, .text = "a")),
    DAMAGED("dims-5", "5 dimensions", FIELD(PATCH_N_DIMS, 0, 5)),
    DAMAGED("dims-max", "4294967295 dimensions", FIELD(PATCH_N_DIMS, 0, UINT32_MAX)),
    DAMAGED("dim-negative", "dimension 0 is negative", FIELD(PATCH_DIM0, 0, UINT64_MAX)),
    DAMAGED("dim-negative-1", "dimension 1 is negative", FIELD(PATCH_DIM1, 0, 1ull << 63)),
    DAMAGED("elements-2-64", "2^63 elements", DIMS(CLAIM, "b", FORMAT_F32, 1ull << 32, 1ull << 32), .n_dims = 2),
    DAMAGED("elements-2-63", "2^63 elements", DIMS(CLAIM, "b", FORMAT_F32, 1ull << 32, 1ull << 31), .n_dims = 2),
    DAMAGED("elements-0-hides", "2^63 elements", DIMS(CLAIM, "b", FORMAT_F32, 0, 1ull << 62, 1ull << 62), .n_dims = 3),
    DAMAGED("bytes-2-64", "more than 2^64 bytes", DIMS(CLAIM, "b", FORMAT_I64, 1ull << 31, 1ull << 30), .n_dims = 2),
    DAMAGED("row-bytes-2-64", "more than 2^64 bytes", DIMS(CLAIM, "b", FORMAT_F64, 1ull << 61), .n_dims = 1),
    DAMAGED("row-not-blocks", "not whole blocks of 32", DIMS(CLAIM, "b", FORMAT_Q4_0, 33, 2), .n_dims = 2),
    DAMAGED("row-not-blocks-256", "not whole blocks of 256", DIMS(CLAIM, "b", FORMAT_Q6_K, 32, 8), .n_dims = 2),
    DAMAGED("scalar-not-block", "not whole blocks of 32", DIMS(CLAIM, "b", FORMAT_Q4_0, 0), .n_dims = 0),
    DAMAGED("format-4", "Q4_2", FIELD(PATCH_FORMAT, 0, 4)),
    DAMAGED("format-5", "Q4_3", FIELD(PATCH_FORMAT, 0, 5)),
    DAMAGED("format-31", "Q4_0_4_4", FIELD(PATCH_FORMAT, 0, 31)),
    DAMAGED("format-36", "number format 36", FIELD(PATCH_FORMAT, 0, 36)),
    DAMAGED("format-9", "Q8_1", FIELD(PATCH_FORMAT, 0, 9)),
    DAMAGED("format-15", "Q8_K", FIELD(PATCH_FORMAT, 0, 15)),
    DAMAGED("format-139", "IQ4_K", FIELD(PATCH_FORMAT, 0, 139)),
    DAMAGED("format-43", "number format 43 is unknown", FIELD(PATCH_FORMAT, 0, 43)),
    DAMAGED("format-1000", "number format 1000 is unknown", FIELD(PATCH_FORMAT, 0, 1000)),
    DAMAGED("format-max", "number format 4294967295 is unknown", FIELD(PATCH_FORMAT, 0, UINT32_MAX)),
    DAMAGED("cut-in-tensor", "tensor 'b'", FIELD(CUT_IN_TENSOR, 1, 0)),

    /* data */
    DAMAGED("offset-unaligned", "offset 65 is not a multiple of the alignment 32", FIELD(PATCH_OFFSET, 1, 65)),
    DAMAGED("offset-past-end", "tensor 'b': its data ends at", FIELD(PATCH_OFFSET, 1, 1 << 20)),
    DAMAGED("offset-2-63", "tensor 'b': its data ends at", FIELD(PATCH_OFFSET, 1, 1ull << 63)),
    DAMAGED("offset-wraps", "past 2^64", FIELD(PATCH_OFFSET, 1, UINT64_MAX - 31)),
    DAMAGED("size-wraps", "past 2^64", DIMS(CLAIM, "b", FORMAT_I16, INT64_MAX), .n_dims = 1),
    DAMAGED("size-past-end", "tensor 'a': its data ends at", FIELD(PATCH_DIM1, 0, 1000)),
    DAMAGED("overlap-same", "overlaps that of tensor 'a'", FIELD(PATCH_OFFSET, 1, 0)),
    DAMAGED("overlap-part", "overlaps that of tensor 'b'", FIELD(PATCH_OFFSET, 2, 128)),
    DAMAGED("overlap-inside", "overlaps that of tensor 'a'", FIELD(PATCH_DIM1, 0, 4)),
    DAMAGED("no-data", "tensor 'a': its data ends at", FIELD(CUT_DATA, 0, 0)),
    DAMAGED("data-cut-by-one", "tensor 'c': its data ends at", FIELD(CUT_LAST_BYTE, 0, 0)),

    /* sets */
    SHARD("set-missing", 1, "set-missing-00002-of-00003.gguf: cannot open", .kind = MISSING),
    SHARD("set-no-first", 0, "set-no-first-00001-of-00003.gguf: cannot open", .kind = MISSING, .open = 2),
    SHARD("set-wrong-no", 1, "set-wrong-no-00002-of-00003.gguf: split.no is 2", U32("split.no", 2)),
    SHARD("set-no-range", 1, "'split.no' is 3, not in 0..2", U32("split.no", 3)),
    SHARD("set-no-of-opened", 0, "name ends in '-00002-of-00003.gguf'", U32("split.no", 1)),
    SHARD("set-no-missing", 2, "00003-of-00003.gguf: the key split.no is missing", NO_KEY("split.no")),
    SHARD("set-count-other", 2, "00003-of-00003.gguf: split.count is 4", U32("split.count", 4)),
    SHARD("set-count-zero", 1, "00002-of-00003.gguf: split.count is 0", U32("split.count", 0)),
    SHARD("set-count-missing", 2, "00003-of-00003.gguf: split.count is 0", NO_KEY("split.count")),
    SHARD("set-count-huge", 0, "'split.count' is 65535, not in 0..1024", U32("split.count", 65535)),
    SHARD("set-count-negative", 0, "'split.count' is -3", I32("split.count", -3)),
    SHARD("set-count-string", 0, "'split.count' is of type string", STRING("split.count", "3")),
    SHARD("set-tensors-other", 1, "00002-of-00003.gguf: split.tensors.count is 4", U32("split.tensors.count", 4)),
    SHARD("set-tensors-missing", 1, "split.tensors.count is missing", NO_KEY("split.tensors.count")),
    SHARD("set-tensor-dropped", 1, "hold 2 tensors", NO_TENSOR("b")),
    SHARD("set-tensor-twice", 2, "00003-of-00003.gguf: offset", BY(rename_tensor, .item = 0, .text = "a")),
    SHARD("set-shard-damaged", 2, "00003-of-00003.gguf: offset 8: tensor count", FIELD(PATCH_N_TENSORS, 0, UINT64_MAX)),
    SHARD("set-shard-empty", 1, "00002-of-00003.gguf: the file is empty", FIELD(CUT, 0, 0)),
    SHARD("set-shard-cut", 1, "00002-of-00003.gguf: offset", FIELD(CUT_LAST_BYTE, 0, 0)),

    /* right, if unusual */
    RIGHT("right-version-3", FIELD(NOTHING, 0, 0)),
    RIGHT("right-version-2", BY(version, .number = 2)),
    RIGHT("right-last-padding-missing", BY(no_last_padding)),
    RIGHT("right-zero-elements", BY(zero_elements)),
    RIGHT("right-scalar", DIMS(SHAPE, "scalar", FORMAT_F32, 0), .n_dims = 0),
    RIGHT("right-gap", FIELD(PATCH_DIM1, 0, 1)),
    RIGHT("right-unordered", BY(unordered)),
    RIGHT("right-no-tensors", BY(only, .item = 5, .number = 0)),
    RIGHT("right-no-keys", BY(only, .item = 0, .number = 3)),
    RIGHT("right-nothing", BY(only, .item = 0, .number = 0)),
    RIGHT("right-every-type", BY(every_type)),
    RIGHT("right-every-format", BY(every_format)),
    RIGHT("right-alignment-8", BY(alignment, .number = 8)),
    RIGHT("right-alignment-4096", BY(alignment, .number = 4096)),
    RIGHT("right-key-65535", BY(rename_key, .item = KV_NUMBER, .number = 65535)),
    RIGHT("right-name-63", BY(rename_tensor, .item = 0, .number = 63)),
    RIGHT("right-set", .base = SHARDS),
    RIGHT("right-set-by-last", .base = SHARDS, .open = 2),
    RIGHT("tiny", .base = TINY),
    RIGHT("tiny-version-2", .base = TINY, BY(version, .number = 2)),
    RIGHT("tiny-alignment-256", .base = TINY, BY(alignment, .number = 256)),
    RIGHT("tiny-i32", .base = TINY, I32("llama.block_count", 1)),
    RIGHT("tiny-mixture", .base = MIXTURE, FIELD(NOTHING, 0, 0)),
    RIGHT("tiny-mixture-all", .base = MIXTURE, U32("llama.expert_used_count", TINY_EXPERTS)),
    RIGHT("tiny-mixture-no-scale", .base = MIXTURE, F32("llama.expert_weights_scale", 0)),

    /* hyperparameters */
    MODEL("no-architecture", "general.architecture", NO_KEY("general.architecture")),
    MODEL("architecture-unknown", "clip", STRING("general.architecture", "clip")),
    MODEL("architecture-number", "general.architecture", U32("general.architecture", 1)),
    MODEL("architecture-nul", "general.architecture", BY(string_with_nul, .text = "general.architecture")),
    MODEL("no-block-count", "block_count", NO_KEY("llama.block_count")),
    MODEL("block-count-0", "block_count", U32("llama.block_count", 0)),
    MODEL("block-count-513", "block_count", U32("llama.block_count", 513)),
    MODEL("block-count-max", "block_count", U32("llama.block_count", UINT32_MAX)),
    MODEL("block-count-2", "blk.1.", U32("llama.block_count", 2)),
    MODEL("block-count-negative", "block_count", I32("llama.block_count", -1)),
    MODEL("block-count-string", "block_count", STRING("llama.block_count", "1")),
    MODEL("no-width", "embedding_length", NO_KEY("llama.embedding_length")),
    MODEL("width-0", "embedding_length", U32("llama.embedding_length", 0)),
    MODEL("width-max", "embedding_length", U32("llama.embedding_length", UINT32_MAX)),
    MODEL("width-other", "32", U32("llama.embedding_length", 64)),
    MODEL("context-0", "context_length", U32("llama.context_length", 0)),
    MODEL("context-max", "context_length", U32("llama.context_length", UINT32_MAX)),
    MODEL("ffn-0", "feed_forward_length", U32("llama.feed_forward_length", 0)),
    MODEL("ffn-other", "ffn", U32("llama.feed_forward_length", 64)),
    MODEL("heads-0", "head_count", U32("llama.attention.head_count", 0)),
    MODEL("heads-3", "", U32("llama.attention.head_count", 3)),
    MODEL("heads-max", "head_count", U32("llama.attention.head_count", UINT32_MAX)),
    MODEL("heads-string", "head_count", STRING("llama.attention.head_count", "2")),
    MODEL("heads-empty-array", "head_count", BY(array_of, .text = "llama.attention.head_count", .number = GGUF_U32)),
    MODEL("kv-heads-0", "head_count_kv", U32("llama.attention.head_count_kv", 0)),
    MODEL("kv-heads-3", "head_count_kv", U32("llama.attention.head_count_kv", 3)),
    MODEL("kv-heads-2", "attn_k", U32("llama.attention.head_count_kv", 2)),
    MODEL("head-dim-0", "key_length", U32("llama.attention.key_length", 0)),
    MODEL("head-dim-max", "key_length", U32("llama.attention.key_length", UINT32_MAX)),
    MODEL("head-dim-value-other", "8 value", U32("llama.attention.value_length", 8)),
    MODEL("no-eps", "rms_epsilon", NO_KEY("llama.attention.layer_norm_rms_epsilon")),
    MODEL("eps-nan", "rms_epsilon", F32("llama.attention.layer_norm_rms_epsilon", NAN)),
    MODEL("eps-negative", "rms_epsilon", F32("llama.attention.layer_norm_rms_epsilon", -1)),
    MODEL("eps-string", "rms_epsilon", STRING("llama.attention.layer_norm_rms_epsilon", "0")),
    MODEL("rope-base-0", "freq_base", F32("llama.rope.freq_base", 0)),
    MODEL("rope-base-inf", "freq_base", F32("llama.rope.freq_base", INFINITY)),
    MODEL("rope-dims-odd", "dimension_count", U32("llama.rope.dimension_count", 15)),
    MODEL("rope-dims-large", "dimension_count", U32("llama.rope.dimension_count", 18)),
    MODEL("rope-scaling-unknown", "scaling", STRING("llama.rope.scaling.type", "spiral")),
    MODEL("experts-max", "llama.expert_count", U32("llama.expert_count", UINT32_MAX)),
    MODEL("experts-none-used", "expert_used_count", U32("llama.expert_count", 8)),
    MIXED("experts-1025", "llama.expert_count", U32("llama.expert_count", 1025)),
    MIXED("experts-other", "ffn_gate_inp.weight", U32("llama.expert_count", TINY_EXPERTS - 1)),
    MIXED("experts-0", "blk.0.ffn_gate.weight is missing", U32("llama.expert_count", 0)),
    MIXED("experts-string", "expert_count", STRING("llama.expert_count", "4")),
    MIXED("experts-used-0", "expert_used_count", U32("llama.expert_used_count", 0)),
    MIXED("experts-used-more", "expert_used_count", U32("llama.expert_used_count", TINY_EXPERTS + 1)),
    MIXED("experts-used-missing", "expert_used_count", NO_KEY("llama.expert_used_count")),
    MIXED("experts-width-0", "expert_feed_forward_length", U32("llama.expert_feed_forward_length", 0)),
    MIXED("experts-width-max", "expert_feed_forward_length", U32("llama.expert_feed_forward_length", UINT32_MAX)),
    MIXED("experts-width-other", "ffn_gate_exps", U32("llama.expert_feed_forward_length", 64)),
    MIXED("experts-no-width", "expert_feed_forward_length is missing", U32("llama.feed_forward_length", 0)),
    MIXED("experts-sigmoid", "gating function 2", U32("llama.expert_gating_func", 2)),
    MIXED("experts-shared", "1 shared experts", U32("llama.expert_shared_count", 1)),
    MIXED("experts-scale-nan", "expert_weights_scale", F32("llama.expert_weights_scale", NAN)),
    MIXED("experts-scale-2", "scale 2", F32("llama.expert_weights_scale", 2)),
    MIXED("experts-norm-number", "expert_weights_norm", U32("llama.expert_weights_norm", 1)),

    /* weights */
    MODEL("no-embedding", "token_embd.weight", NO_TENSOR("token_embd.weight")),
    MODEL("no-output-norm", "output_norm.weight", NO_TENSOR("output_norm.weight")),
    MODEL("no-q", "blk.0.attn_q.weight", NO_TENSOR("blk.0.attn_q.weight")),
    MODEL("no-down", "blk.0.ffn_down.weight", NO_TENSOR("blk.0.ffn_down.weight")),
    MODEL("embedding-rows", "299", DIMS(SHAPE, "token_embd.weight", 0, TINY_WIDTH, TINY_VOCAB - 1), .n_dims = 2),
    MODEL("embedding-zero", "token_embd", DIMS(SHAPE, "token_embd.weight", 0, TINY_WIDTH, 0), .n_dims = 2),
    MODEL("k-transposed", "attn_k.weight", DIMS(SHAPE, "blk.0.attn_k.weight", 0, TINY_HEAD, TINY_WIDTH), .n_dims = 2),
    MODEL("q-one-row", "attn_q.weight", DIMS(SHAPE, "blk.0.attn_q.weight", 0, TINY_WIDTH, 1), .n_dims = 2),
    MODEL("q-three-dims", "attn_q.weight", DIMS(SHAPE, "blk.0.attn_q.weight", 0, TINY_WIDTH, TINY_WIDTH, 2),
          .n_dims = 3),
    MODEL("norm-empty", "output_norm.weight", DIMS(SHAPE, "output_norm.weight", 0, 0), .n_dims = 1),
    MODEL("norm-matrix", "ffn_norm.weight", DIMS(SHAPE, "blk.0.ffn_norm.weight", 0, TINY_WIDTH, 2), .n_dims = 2),
    MODEL("norm-scalar", "attn_norm.weight", DIMS(SHAPE, "blk.0.attn_norm.weight", 0, 0), .n_dims = 0),
    MODEL("up-integers", "ffn_up.weight", BY(weight_format, .text = "blk.0.ffn_up.weight", .number = FORMAT_I32)),
    MODEL("norm-doubles", "output_norm.weight", BY(weight_format, .text = "output_norm.weight", .number = FORMAT_F64)),

    MIXED("no-router", "blk.0.ffn_gate_inp.weight is missing", NO_TENSOR("blk.0.ffn_gate_inp.weight")),
    MIXED("no-experts-down", "blk.0.ffn_down_exps.weight is missing", NO_TENSOR("blk.0.ffn_down_exps.weight")),
    MIXED("router-of-one", "ffn_gate_inp.weight", DIMS(SHAPE, "blk.0.ffn_gate_inp.weight", 0, TINY_WIDTH, 1),
          .n_dims = 2),
    MIXED("router-three-dims", "ffn_gate_inp.weight",
          DIMS(SHAPE, "blk.0.ffn_gate_inp.weight", 0, TINY_WIDTH, TINY_EXPERTS, 2), .n_dims = 3),
    MIXED("experts-two-dims", "ffn_up_exps.weight", DIMS(SHAPE, "blk.0.ffn_up_exps.weight", 0, TINY_WIDTH, TINY_WIDTH),
          .n_dims = 2),
    MIXED("experts-fewer", "ffn_up_exps.weight: shape 32 x 32 x 3",
          DIMS(SHAPE, "blk.0.ffn_up_exps.weight", 0, TINY_WIDTH, TINY_WIDTH, TINY_EXPERTS - 1), .n_dims = 3),
    MIXED("experts-zero", "ffn_up_exps.weight", DIMS(SHAPE, "blk.0.ffn_up_exps.weight", 0, TINY_WIDTH, TINY_WIDTH, 0),
          .n_dims = 3),
    MIXED("experts-first", "ffn_down_exps.weight",
          DIMS(SHAPE, "blk.0.ffn_down_exps.weight", 0, TINY_EXPERTS, TINY_WIDTH, TINY_WIDTH), .n_dims = 3),

    /* vocabulary */
    MODEL("no-tokenizer", "tokenizer.ggml.model", NO_KEY("tokenizer.ggml.model")),
    MODEL("tokenizer-unknown", "telepathy", STRING("tokenizer.ggml.model", "telepathy")),
    MODEL("pre-unknown", "telepathy", STRING("tokenizer.ggml.pre", "telepathy")),
    MODEL("no-tokens", "tokenizer.ggml.tokens", NO_KEY("tokenizer.ggml.tokens")),
    MODEL("tokens-none", "tokenizer.ggml.tokens", BY(array_of, .text = "tokenizer.ggml.tokens", .number = GGUF_STRING)),
    MODEL("tokens-numbers", "tokenizer.ggml.tokens",
          BY(array_of, .text = "tokenizer.ggml.tokens", .number = GGUF_U32, .item = TINY_VOCAB)),
    MODEL("tokens-fewer", "tokenizer.ggml",
          BY(array_of, .text = "tokenizer.ggml.tokens", .number = GGUF_STRING, .item = 2)),
    MODEL("tokens-string", "tokenizer.ggml.tokens", STRING("tokenizer.ggml.tokens", "a")),
    MODEL("token-empty", "token", BY(token_text, .item = 65, .text = "")),
    MODEL("token-huge", "token", BY(token_text, .item = 260, .number = 4 << 20)),
    MODEL("types-short", "token_type",
          BY(array_of, .text = "tokenizer.ggml.token_type", .number = GGUF_I32, .item = 3)),
    MODEL("types-strings", "token_type",
          BY(array_of, .text = "tokenizer.ggml.token_type", .number = GGUF_STRING, .item = TINY_VOCAB)),
    MODEL("type-unknown", "token_type", BY(token_type, .item = 5, .number = 77)),
    MODEL("scores-short", "scores", BY(array_of, .text = "tokenizer.ggml.scores", .number = GGUF_F32, .item = 1)),
    MODEL("no-merges", "merges", NO_KEY("tokenizer.ggml.merges")),
    MODEL("merges-numbers", "merges", BY(array_of, .text = "tokenizer.ggml.merges", .number = GGUF_U32, .item = 1)),
    MODEL("merge-missing-token", "merges", BY(merge_text, .item = 7, .text = "q zzz")),
    MODEL("merge-missing-joined", "merges", BY(merge_text, .item = 7, .text = "q q")),
    MODEL("merge-no-space", "merges", BY(merge_text, .item = 7, .text = "he")),
    MODEL("bos-range", "bos_token_id", U32("tokenizer.ggml.bos_token_id", TINY_VOCAB)),
    MODEL("eos-max", "eos_token_id", U32("tokenizer.ggml.eos_token_id", UINT32_MAX)),
    MODEL("eos-negative", "eos_token_id", I32("tokenizer.ggml.eos_token_id", -2)),
    MODEL("eos-string", "eos_token_id", STRING("tokenizer.ggml.eos_token_id", "2")),
    MODEL("add-bos-number", "add_bos_token", U32("tokenizer.ggml.add_bos_token", 1)),

    /* chat templates */
    CHAT("template-open", "{% for m in messages %}{{ m"),
    CHAT("template-unknown-tag", "{% include '/etc/passwd' %}"),
    CHAT("template-loop", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
    CHAT("template-range", "{{ range(10 ** 12) | length }}"),
    CHAT("template-recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
    CHAT("template-output", "{% for a in range(1000000) %}{{ 'stile ' * 1000 }}{% endfor %}"),
    CHAT("template-repeat", "{{ 'x' * 10 ** 10 }}"),
    CHAT("template-doubling", "{% set ns = namespace(s='x') %}{% for a in range(64) %}{% set ns.s = ns.s + ns.s %}"
                              "{% endfor %}{{ ns.s | length }}"),
    CHAT("template-host", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    CHAT("template-raises", "{{ raise_exception('no') }}"),
    {.name = "template-braces",
     .level = HOSTILE_CHAT,
     .base = TINY,
     .expected = "template",
     BY(template_long, .number = 1 << 20)},
};

/* ---- building ---------------------------------------------------------------------------------- */

static void change(struct gguf_write *file, const struct hostile_case *c)
{
    switch (c->kind) {
    case SET_U32: gguf_write_u32(file, c->text, (uint32_t)c->number); break;
    case SET_I32: gguf_write_i32(file, c->text, (int32_t)c->number); break;
    case SET_F32: gguf_write_f32(file, c->text, (float)c->real); break;
    case SET_STRING: gguf_write_string(file, c->text, c->string); break;
    case DROP_KEY: gguf_write_drop_key(file, c->text); break;
    case DROP_TENSOR: gguf_write_drop_tensor(file, c->text); break;
    case SHAPE: gguf_write_floats(file, c->text, c->n_dims, c->dims, 0, 1); break;
    case CLAIM: claim(file, c); break;
    case CALL: c->call(file, c); break;
    default: break;
    }
}

/* Fields of records stand at fixed distances behind their key or name. */
static void patch(const struct gguf_write *file, struct buffer *out, const struct hostile_case *c)
{
    bool has_kv = c->item < file->n_kv, has_tensor = c->item < file->n_tensors;
    size_t kv = has_kv ? file->kv[c->item].at : 0, value = has_kv ? kv + 8 + file->kv[c->item].n_key + 4 : 0;
    size_t tensor = has_tensor ? file->tensors[c->item].at : 0;
    size_t n_dims = has_tensor ? tensor + 8 + file->tensors[c->item].n_name : 0;
    size_t format = has_tensor ? n_dims + 4 + 8 * file->tensors[c->item].n_dims : 0;
    switch (c->kind) {
    case PATCH_MAGIC: memcpy(out->data, c->text, 4); break;
    case PATCH_VERSION: gguf_patch_u32(out, 4, (uint32_t)c->number); break;
    case PATCH_N_TENSORS: gguf_patch_u64(out, 8, c->number); break;
    case PATCH_N_KV: gguf_patch_u64(out, 16, c->number); break;
    case PATCH_KEY_LENGTH: gguf_patch_u64(out, kv, c->number); break;
    case PATCH_KEY_BYTE: out->data[kv + 8] = (char)c->number; break;
    case PATCH_TYPE: gguf_patch_u32(out, value - 4, (uint32_t)c->number); break;
    case PATCH_LENGTH: gguf_patch_u64(out, value, c->number); break;
    case PATCH_ELEMENT: gguf_patch_u32(out, value, (uint32_t)c->number); break;
    case PATCH_COUNT: gguf_patch_u64(out, value + 4, c->number); break;
    case PATCH_NAME_LENGTH: gguf_patch_u64(out, tensor, c->number); break;
    case PATCH_NAME_BYTE: out->data[tensor + 8] = (char)c->number; break;
    case PATCH_N_DIMS: gguf_patch_u32(out, n_dims, (uint32_t)c->number); break;
    case PATCH_DIM0: gguf_patch_u64(out, n_dims + 4, c->number); break;
    case PATCH_DIM1: gguf_patch_u64(out, n_dims + 12, c->number); break;
    case PATCH_FORMAT: gguf_patch_u32(out, format, (uint32_t)c->number); break;
    case PATCH_OFFSET: gguf_patch_u64(out, format + 4, c->number); break;
    case CUT: out->n = c->number; break;
    case CUT_IN_KV: out->n = value + 5; break;
    case CUT_IN_TENSOR: out->n = format + 2; break;
    case CUT_DATA: out->n = file->data_at; break;
    case CUT_LAST_BYTE: {
        const struct gguf_write_tensor *last = &file->tensors[file->n_tensors - 1];
        out->n = file->data_at + last->offset + last->data.n - 1;
        break;
    }
    default: break;
    }
}

static void build_file(const struct hostile_case *c, size_t i, struct buffer *out)
{
    struct gguf_write file;
    switch (c->base) {
    case SMALL: small_file(&file); break;
    case TINY: gguf_write_tiny_model(&file); break;
    case MIXTURE:
        gguf_write_tiny_model(&file);
        gguf_write_tiny_mixture(&file);
        break;
    case SHARDS: shard_file(&file, i); break;
    }
    if (i == c->shard) change(&file, c);
    gguf_write_finish(&file, out);
    if (i == c->shard) patch(&file, out, c);
    gguf_write_free(&file);
}

size_t hostile_count(void)
{
    return sizeof cases / sizeof *cases;
}

void hostile_build(size_t i, struct hostile_set *set)
{
    const struct hostile_case *c = &cases[i];
    size_t n = c->base == SHARDS ? 3 : 1;
    *set = (struct hostile_set){.name = c->name, .level = c->level, .expected = c->expected};
    for (size_t f = 0; f < n; f++) {
        if (c->kind == MISSING && f == c->shard) continue;
        struct hostile_file *file = &set->files[set->n_files];
        if (f == c->open) set->open = set->n_files;
        set->n_files++;
        if (c->base == SHARDS)
            snprintf(file->name, sizeof file->name, "%s-%05zu-of-%05zu.gguf", c->name, f + 1, n);
        else
            snprintf(file->name, sizeof file->name, "%s.gguf", c->name);
        build_file(c, f, &file->bytes);
    }
}

void hostile_build_named(const char *name, struct hostile_set *set)
{
    size_t i = 0;
    while (i < hostile_count() && strcmp(cases[i].name, name) != 0)
        i++;
    if (i == hostile_count()) abort();
    hostile_build(i, set);
}

void hostile_free(struct hostile_set *set)
{
    for (size_t i = 0; i < set->n_files; i++)
        buffer_free(&set->files[i].bytes);
    *set = (struct hostile_set){0};
}

void hostile_write(const struct hostile_set *set, const char *folder, char *path, size_t capacity)
{
    for (size_t i = 0; i < set->n_files; i++) {
        const struct hostile_file *file = &set->files[i];
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", folder, file->name);
        FILE *out = fopen(name, "wb");
        if (!out || fwrite(file->bytes.data, 1, file->bytes.n, out) != file->bytes.n || fclose(out) != 0) {
            perror(name);
            exit(1);
        }
        if (i == set->open) snprintf(path, capacity, "%s", name);
    }
}

const char *hostile_level_name(enum hostile_level level)
{
    static const char *const names[] = {"VALID", "GGUF", "MODEL", "CHAT"};
    return names[level];
}
