/* Quantizing whole models: every format, the same bytes at any number of threads and after an interruption, importance,
 * recipes, NVFP4's second scales, and requests that make no sense. */
#include "format/encode.h"
#include "gguf_write.h"
#include "model/mix.h"
#include "model/model.h"
#include "model/synthetic.h"
#include "sanitized.h"
#include "stile.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile-quantize-XXXXXX";

static const struct shape dense = {.id = "tiny",
                                   .name = "Tiny",
                                   .arch = "llama",
                                   .n_layers = 2,
                                   .d_model = 256,
                                   .d_ff = 256,
                                   .n_heads = 2,
                                   .n_kv_heads = 1,
                                   .head_dim = 64,
                                   .n_vocab = 300,
                                   .pattern = "",
                                   .n_ctx = 128,
                                   .notes = "",
                                   .source = ""};
static const struct shape mixture = {.id = "tiny-mixture",
                                     .name = "Tiny mixture",
                                     .arch = "mixtral",
                                     .n_layers = 2,
                                     .d_model = 256,
                                     .n_heads = 4,
                                     .n_kv_heads = 2,
                                     .head_dim = 64,
                                     .n_vocab = 300,
                                     .n_experts = 4,
                                     .n_experts_used = 2,
                                     .d_ff_expert = 256,
                                     .pattern = "",
                                     .n_ctx = 128,
                                     .notes = "",
                                     .source = ""};

/* ---- files --------------------------------------------------------------------------------------- */

/* The path of a file in the folder; lives as long as the program. */
static const char *at(const char *name)
{
    static char paths[64][96];
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (!*paths[i]) snprintf(paths[i], sizeof paths[i], "%s/%s", folder, name);
        if (strcmp(paths[i] + sizeof folder, name) == 0) return paths[i];
    }
    fail_msg("too many files");
    return NULL;
}

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is not there", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static void assert_same_files(const char *a, const char *b)
{
    size_t n_a, n_b;
    char *bytes_a = read_file(a, &n_a), *bytes_b = read_file(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(bytes_a, bytes_b, n_a);
    free(bytes_a);
    free(bytes_b);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void make_model(const struct shape *shape, const char *mix, const char *path)
{
    struct stile_error error;
    struct synthetic *synthetic;
    assert_int_equal(synthetic_create(&synthetic, shape, mix, 1, &error), 0);
    assert_int_equal(synthetic_write(synthetic, path, NULL, &error), 0);
    synthetic_free(synthetic);
}

static struct stile_model *open_model(const char *path)
{
    struct stile_error error;
    struct stile_model *model;
    if (stile_model_open(&model, path, &error) != 0) fail_msg("%s", error.message);
    return model;
}

/* ---- calls --------------------------------------------------------------------------------------- */

static void quantize(const char *in, const char *out, const struct stile_quantize_options *options)
{
    struct stile_error error;
    struct stile_model *model = open_model(in);
    if (stile_quantize(model, out, options, NULL, &error) != 0) fail_msg("%s", error.message);
    stile_model_close(model);
}

/* It must fail, say this, and leave nothing at `out` that was not there. */
static void refuse(const char *in, const char *out, const struct stile_quantize_options *options, int code,
                   const char *says)
{
    struct stile_error error = {0};
    struct stile_model *model = open_model(in);
    bool there = is_there(out);
    int failed = stile_quantize(model, out, options, NULL, &error);
    stile_model_close(model);
    if (failed != code || !strstr(error.message, says))
        fail_msg("%d \"%s\", not %d with \"%s\"", failed, error.message, code, says);
    assert_int_equal(is_there(out), there);
}

static struct gguf *open_gguf(const char *path)
{
    struct stile_error error;
    struct gguf *gguf;
    if (gguf_open(&gguf, path, &error) != 0) fail_msg("%s", error.message);
    return gguf;
}

/* Of a tensor, second scales included; the caller frees them. */
static float *decode(const struct gguf *gguf, const char *name, size_t *n)
{
    char scale_name[80];
    const struct gguf_tensor *t = gguf_find_tensor(gguf, name);
    if (!t) fail_msg("no tensor %s", name);
    float *x = malloc((t->n_elements + 1) * sizeof *x);
    *n = t->n_elements;
    format_decode(t->format, t->data, t->n_elements, x);
    snprintf(scale_name, sizeof scale_name, "%.*s.scale", (int)(strlen(name) - strlen(".weight")), name);
    const struct gguf_tensor *scales = gguf_find_tensor(gguf, scale_name);
    if (!scales) return x;
    assert_int_equal(t->format, FORMAT_NVFP4);
    assert_int_equal(scales->n_elements, t->dims[2]);
    for (size_t i = 0; i < *n; i++)
        x[i] *= ((const float *)scales->data)[i / (*n / scales->n_elements)];
    return x;
}

/* Relative root mean square distance of a tensor in two files. */
static double distance(const struct gguf *a, const struct gguf *b, const char *name)
{
    size_t n, n_b;
    float *x = decode(a, name, &n), *y = decode(b, name, &n_b);
    double error = 0, all = 0;
    assert_int_equal(n, n_b);
    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        all += (double)x[i] * (double)x[i];
    }
    free(x);
    free(y);
    return all > 0 ? sqrt(error / all) : sqrt(error);
}

/* ---- every format -------------------------------------------------------------------------------- */

/* More than any format of so many bits leaves of normal numbers. */
static double most_distance(enum format format)
{
    const struct format_info *info = format_info(format);
    double bits = 8.0 * info->block_bytes / info->block_elements;
    return format == FORMAT_F32 ? 0 : bits > 15 ? 0.003 : 1.3 * pow(2, -bits + 1.1) + 0.01;
}

static void check_keys(const struct gguf *made, const struct gguf *in, uint64_t file_type)
{
    uint64_t value = 0;
    assert_int_equal(gguf_get_u64(made, "general.file_type", 0, 100, &value, NULL), 0);
    assert_int_equal(value, file_type);
    assert_int_equal(gguf_get_u64(made, "general.quantization_version", 0, 100, &value, NULL), 0);
    assert_int_equal(value, 2);
    assert_int_equal(made->n_kv, in->n_kv);
    for (size_t i = 0; i < in->n_kv; i++) {
        const struct gguf_kv *kv = gguf_find(made, in->kv[i].key);
        if (!kv) fail_msg("key %s is missing", in->kv[i].key);
        if (strcmp(kv->key, "general.file_type") == 0) continue;
        assert_int_equal(kv->type, in->kv[i].type);
        assert_int_equal(kv->size_bytes, in->kv[i].size_bytes);
        assert_memory_equal(kv->data, in->kv[i].data, kv->size_bytes);
    }
}

static void check_tensors(const struct gguf *made, const struct gguf *in, const struct mix *mix)
{
    static const struct {
        const char *name;
        enum mix_class class;
        uint32_t layer;
    } some[] = {
        {"token_embd.weight", MIX_EMBEDDING, 0},    {"output.weight", MIX_OUTPUT, 0},
        {"blk.0.attn_v.weight", MIX_ATTN_V, 0},     {"blk.1.attn_output.weight", MIX_ATTN_OUTPUT, 1},
        {"blk.1.ffn_down.weight", MIX_FFN_DOWN, 1}, {"blk.0.ffn_up.weight", MIX_OTHER, 0},
    };
    struct hparams h;
    assert_int_equal(hparams_read(&h, in, NULL), 0);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const struct gguf_tensor *t = gguf_find_tensor(made, some[i].name);
        enum format format = mix_format(mix, some[i].class, &h, some[i].layer, t->dims[0], false);
        assert_string_equal(format_info(t->format)->name, format_info(format)->name);
        double d = distance(in, made, some[i].name);
        if (!(d <= most_distance(format))) fail_msg("%s in %s: %g", some[i].name, format_info(format)->name, d);
    }
    assert_int_equal(gguf_find_tensor(made, "blk.1.ffn_norm.weight")->format, FORMAT_F32);
    assert_true(distance(in, made, "blk.1.ffn_norm.weight") == 0);
}

static void every_format(void **state)
{
    (void)state;
    struct gguf *in = open_gguf(at("dense-bf16"));
    for (size_t i = 0; stile_quantize_format(i); i++) {
        const char *name = stile_quantize_format(i);
        if (SANITIZED && i % 5 != 0) continue;
        struct stile_quantize_options options = {.format = name, .n_threads = 2, .force = true};
        quantize(at("dense-bf16"), at("made"), &options);
        stile_model_close(open_model(at("made")));
        struct gguf *made = open_gguf(at("made"));
        check_keys(made, in, mix_file_type(mix_find(name)));
        check_tensors(made, in, mix_find(name));
        gguf_close(made);
        if (i % 5 != 0) continue; /* threads are the same for all */
        options = (struct stile_quantize_options){.format = name, .n_threads = 5};
        quantize(at("dense-bf16"), at("again"), &options);
        assert_same_files(at("made"), at("again"));
        unlink(at("again"));
    }
    gguf_close(in);
    assert_false(is_there(at("made.partial")));
    unlink(at("made"));
}

/* What is in the format already is copied: nothing is lost twice. */
static void the_same_format_is_copied(void **state)
{
    (void)state;
    struct stile_quantization made;
    struct stile_error error;
    struct stile_model *model = open_model(at("dense-bf16"));
    struct stile_quantize_options options = {.format = "q4_k_m", .n_threads = 1};
    assert_int_equal(stile_quantize(model, at("one"), &options, &made, &error), 0);
    struct stat status;
    assert_int_equal(stat(at("one"), &status), 0);
    assert_int_equal(status.st_size, made.size_bytes);
    assert_int_equal(made.n_requantized, 0);
    stile_quantization_free(&made);
    stile_model_close(model);
    model = open_model(at("one"));
    assert_int_equal(stile_quantize(model, at("two"), &options, &made, &error), 0);
    assert_int_equal(made.n_requantized, 0);
    assert_same_files(at("one"), at("two"));
    stile_quantization_free(&made);
    options = (struct stile_quantize_options){.format = "q5_0", .dry_run = true};
    assert_int_equal(stile_quantize(model, NULL, &options, &made, &error), 0);
    assert_true(made.n_requantized > 0);
    stile_quantization_free(&made);
    stile_model_close(model);
    unlink(at("one"));
    unlink(at("two"));
}

/* ---- NVFP4 --------------------------------------------------------------------------------------- */

static void second_scales_of_experts(void **state)
{
    (void)state;
    quantize(at("mixture-bf16"), at("nv"), &(struct stile_quantize_options){.format = "nvfp4", .n_threads = 2});
    struct gguf *in = open_gguf(at("mixture-bf16")), *nv = open_gguf(at("nv"));
    const struct gguf_tensor *scales = gguf_find_tensor(nv, "blk.1.ffn_up_exps.scale");
    assert_non_null(scales);
    assert_int_equal(scales->n_elements, mixture.n_experts);
    assert_true(distance(in, nv, "blk.1.ffn_up_exps.weight") < 0.1);
    assert_true(distance(in, nv, "blk.0.attn_q.weight") < 0.1);
    assert_int_equal(gguf_find_tensor(nv, "blk.0.ffn_gate_inp.weight")->format, FORMAT_F32);
    /* and away again: the scales are multiplied in, their tensors go */
    quantize(at("nv"), at("q8"), &(struct stile_quantize_options){.format = "q8_0", .n_threads = 1});
    struct gguf *q8 = open_gguf(at("q8"));
    assert_null(gguf_find_tensor(q8, "blk.1.ffn_up_exps.scale"));
    assert_true(distance(nv, q8, "blk.1.ffn_up_exps.weight") < 0.01);
    assert_int_equal(q8->n_tensors, in->n_tensors);
    gguf_close(q8);
    /* and copied: with them */
    quantize(at("nv"), at("nv2"), &(struct stile_quantize_options){.format = "nvfp4"});
    assert_same_files(at("nv"), at("nv2"));
    gguf_close(in);
    gguf_close(nv);
    unlink(at("nv"));
    unlink(at("q8"));
    unlink(at("nv2"));
}

/* ---- importance and recipes ---------------------------------------------------------------------- */

/* In each block. */
static bool is_first(uint64_t col)
{
    return col % 16 < 4;
}

/* One that says that the first inputs of each block of a tensor matter, the others hardly. */
static void write_imatrix(const char *path, const char *tensor, uint64_t cols)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    char name[96];
    gguf_write_init(&file);
    gguf_write_string(&file, "general.type", "imatrix");
    gguf_put_string(&gguf_write_array(&file, "imatrix.datasets", GGUF_STRING, 1)->value, "words.txt", 9);
    gguf_write_u32(&file, "imatrix.chunk_count", 7);
    gguf_write_u32(&file, "imatrix.chunk_size", 512);
    snprintf(name, sizeof name, "%s.in_sum2", tensor);
    struct gguf_write_tensor *sums = gguf_write_tensor(&file, name, FORMAT_F32, 2, (uint64_t[]){cols, 1});
    for (uint64_t i = 0; i < cols; i++)
        gguf_patch_u32(&sums->data, i * 4, is_first(i) ? 0x41200000 : 0x3a83126f); /* 10, 0.001 */
    snprintf(name, sizeof name, "%s.counts", tensor);
    gguf_patch_u32(&gguf_write_tensor(&file, name, FORMAT_F32, 2, (uint64_t[]){1, 1})->data, 0, 0x3f800000);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    FILE *out = fopen(path, "wb");
    assert_int_equal(fwrite(bytes.data, 1, bytes.n, out), bytes.n);
    fclose(out);
    buffer_free(&bytes);
}

/* Of these columns. */
static double distance_of_first(const struct gguf *a, const struct gguf *b, const char *name)
{
    size_t n;
    float *x = decode(a, name, &n), *y = decode(b, name, &n);
    double error = 0;
    uint64_t cols = gguf_find_tensor(a, name)->dims[0];
    for (size_t i = 0; i < n; i++)
        if (is_first(i % cols)) error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    free(x);
    free(y);
    return error;
}

static void importance_counts(void **state)
{
    (void)state;
    static const char name[] = "blk.1.ffn_up.weight";
    struct stile_quantization made;
    struct stile_error error;
    struct stile_model *model = open_model(at("dense-bf16"));
    struct stile_quantize_options options = {.format = "q2_k", .n_threads = 1, .imatrix = at("imatrix")};
    write_imatrix(at("imatrix"), name, 256);
    assert_int_equal(stile_quantize(model, at("with"), &options, &made, &error), 0);
    assert_true(made.n_no_importance > 0);
    stile_quantization_free(&made);
    stile_model_close(model);
    quantize(at("dense-bf16"), at("without"), &(struct stile_quantize_options){.format = "q2_k"});
    struct gguf *in = open_gguf(at("dense-bf16")), *with = open_gguf(at("with")), *without = open_gguf(at("without"));
    assert_true(distance_of_first(in, with, name) < 0.8 * distance_of_first(in, without, name));
    assert_true(distance(with, without, "blk.1.ffn_gate.weight") == 0);
    const char *text = "";
    uint64_t n = 0;
    assert_int_equal(gguf_get_string(with, "quantize.imatrix.dataset", &text, NULL), 0);
    assert_string_equal(text, "words.txt");
    assert_int_equal(gguf_get_u64(with, "quantize.imatrix.chunks_count", 0, 100, &n, NULL), 0);
    assert_int_equal(n, 7);
    assert_null(gguf_find(without, "quantize.imatrix.dataset"));
    gguf_close(in);
    gguf_close(with);
    gguf_close(without);
    unlink(at("with"));
    unlink(at("without"));
}

static void recipes(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    FILE *file = fopen(at("recipe"), "w");
    fputs("# a comment\nblk.1.*=q8_0 # another\n\n  *ffn_down* = Q6_K\n", file);
    fclose(file);
    const char *texts[] = {"blk.1.*=q8_0,*ffn_down*=q6_k", at("recipe")};
    for (int i = 0; i < 2; i++) {
        quantize(in, out, &(struct stile_quantize_options){.format = "q4_0", .recipe = texts[i]});
        struct gguf *made = open_gguf(out);
        assert_int_equal(gguf_find_tensor(made, "blk.1.ffn_down.weight")->format, FORMAT_Q8_0);
        assert_int_equal(gguf_find_tensor(made, "blk.0.ffn_down.weight")->format, FORMAT_Q6_K);
        assert_int_equal(gguf_find_tensor(made, "blk.0.ffn_up.weight")->format, FORMAT_Q4_0);
        assert_int_equal(gguf_find_tensor(made, "blk.1.ffn_norm.weight")->format, FORMAT_F32);
        gguf_close(made);
        unlink(out);
    }
    quantize(in, out, &(struct stile_quantize_options){.format = "q8_0", .recipe = "*=nvfp4"});
    struct gguf *nvfp4 = open_gguf(out);
    assert_int_equal(gguf_find_tensor(nvfp4, "output.weight")->format, FORMAT_Q4_K);
    assert_null(gguf_find_tensor(nvfp4, "output.scale"));
    assert_int_equal(gguf_find_tensor(nvfp4, "blk.1.ffn_up.weight")->format, FORMAT_NVFP4);
    gguf_close(nvfp4);
    unlink(out);
    static const char *const wrong[][2] = {
        {"nothing.*=q8_0", "nothing.*"},
        {"*norm*=q8_0", "no weight that can be quantized"},
        {"*=q8_0,*up*=q4_0", "*up*"},
        {"*=q9", "q9"},
        {"*=i32", "i32"},
        {"=q8_0", "PATTERN=FORMAT"},
        {"*=", "PATTERN=FORMAT"},
        {",,=", "PATTERN=FORMAT"},
        {"/none/such", "neither"},
        {"", "neither"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse(in, out, &(struct stile_quantize_options){.format = "q4_0", .recipe = wrong[i][0]}, STILE_ERROR_ARGUMENT,
               wrong[i][1]);
}

/* ---- interruptions ------------------------------------------------------------------------------- */

struct stop {
    volatile int cancel;
    uint64_t after; /* elements */
};

static void stop_after(void *user, uint64_t n_done, uint64_t n_total)
{
    struct stop *stop = user;
    (void)n_total;
    if (n_done >= stop->after) stop->cancel = 1;
}

static void interrupt(const char *out, uint64_t after, struct stile_quantize_options options)
{
    struct stile_error error;
    struct stop stop = {.after = after};
    struct stile_model *model = open_model(at("dense-bf16"));
    struct gguf *gguf;
    char partial[200];
    options.cancel = &stop.cancel;
    options.on_progress = stop_after;
    options.user = &stop;
    assert_int_equal(stile_quantize(model, out, &options, NULL, &error), STILE_ERROR_CANCELLED);
    stile_model_close(model);
    assert_false(is_there(out));
    snprintf(partial, sizeof partial, "%s.partial", out);
    /* something was complete, or not yet, or nothing */
    if (after == 0 || after > 160000) assert_int_equal(is_there(partial), after > 0);
    if (is_there(partial)) assert_int_equal(gguf_open(&gguf, partial, &error), STILE_ERROR_MALFORMED);
}

static void resuming_gives_the_same_bytes(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    struct stile_quantize_options options = {.format = "nvfp4", .n_threads = 2};
    quantize(in, at("whole"), &options);
    interrupt(out, 0, options);
    for (uint64_t after = 1; after < 700000; after += 166666) {
        struct stile_quantization made;
        struct stile_error error;
        interrupt(out, after, options);
        options.resume = true;
        struct stile_model *model = open_model(in);
        if (stile_quantize(model, out, &options, &made, &error) != 0) fail_msg("%s", error.message);
        assert_true(after < 160000 || made.resumed_bytes > 0);
        stile_quantization_free(&made);
        stile_model_close(model);
        assert_same_files(out, at("whole"));
        assert_false(is_there(at("made.partial")));
        unlink(out);
        options.resume = false;
    }
    /* where nothing is to be resumed it begins */
    options.resume = true;
    quantize(in, out, &options);
    assert_same_files(out, at("whole"));
    unlink(out);
    unlink(at("whole"));
}

static void resuming_something_else_is_refused(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    struct stile_quantize_options options = {.format = "q8_0", .n_threads = 1};
    interrupt(out, 300000, options);
    refuse(in, out, &options, STILE_ERROR_ARGUMENT, "--resume continues it");
    options.resume = true;
    options.format = "q4_0";
    refuse(in, out, &options, STILE_ERROR_ARGUMENT, "begun with other options");
    options.format = "q8_0";
    options.imatrix = at("imatrix");
    write_imatrix(at("imatrix"), "blk.1.ffn_up.weight", 256);
    refuse(in, out, &options, STILE_ERROR_ARGUMENT, "begun with other options"); /* its provenance is in the header */
    options.imatrix = NULL;
    make_model(&dense, "bf16", at("dense-later"));
    struct timespec later[2] = {{.tv_sec = 4000000000}, {.tv_sec = 4000000000}};
    assert_int_equal(utimensat(AT_FDCWD, at("dense-later"), later, 0), 0);
    refuse(at("dense-later"), out, &options, STILE_ERROR_ARGUMENT, "begun from another input");
    unlink(at("dense-later"));
    /* the file is as it was, for the right request */
    quantize(in, out, &options);
    unlink(out);
    interrupt(out, 300000, (struct stile_quantize_options){.format = "q8_0"});
    quantize(in, out, &(struct stile_quantize_options){.format = "q4_0", .force = true});
    assert_false(is_there(at("made.partial")));
    unlink(out);
}

static void another_importance_matrix(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    struct stile_quantize_options options = {.format = "q4_0", .imatrix = at("imatrix")};
    write_imatrix(at("imatrix"), "blk.1.ffn_up.weight", 256);
    interrupt(out, 300000, options);
    write_imatrix(at("imatrix"), "blk.0.ffn_up.weight", 256);
    options.resume = true;
    refuse(in, out, &options, STILE_ERROR_ARGUMENT, "begun with another importance matrix");
    unlink(at("made.partial"));
}

/* ---- requests that make no sense ----------------------------------------------------------------- */

static void what_is_in_the_way(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    struct stile_quantize_options options = {.format = "q8_0"}, force = {.format = "q8_0", .force = true};
    quantize(in, out, &options);
    refuse(in, out, &options, STILE_ERROR_ARGUMENT, "exists already");
    quantize(in, out, &force);
    refuse(in, in, &force, STILE_ERROR_ARGUMENT, "the model that is to be read");
    assert_int_equal(link(in, at("hard")), 0);
    refuse(in, at("hard"), &force, STILE_ERROR_ARGUMENT, "the model that is to be read");
    assert_int_equal(symlink(in, at("soft")), 0);
    refuse(in, at("soft"), &force, STILE_ERROR_ARGUMENT, "the model that is to be read");
    unlink(out);
    assert_int_equal(symlink(in, at("made.partial")), 0);
    refuse(in, out, &force, STILE_ERROR_ARGUMENT, "the model that is to be read");
    unlink(at("made.partial"));
    assert_int_equal(mkdir(out, 0700), 0);
    refuse(in, out, &force, STILE_ERROR_ARGUMENT, "not a file");
    rmdir(out);
    refuse(in, at("none/made"), &options, STILE_ERROR_IO, "No such file or directory");
    refuse(in, "/dev/null", &force, STILE_ERROR_ARGUMENT, "not a file");
    FILE *file = fopen(at("made.partial"), "w");
    fputs("notes that somebody keeps under an unlucky name", file);
    fclose(file);
    force.resume = true;
    refuse(in, out, &force, STILE_ERROR_ARGUMENT, "rename it or remove it");
    assert_true(is_there(at("made.partial")));
    unlink(at("made.partial"));
    unlink(at("hard"));
    unlink(at("soft"));
}

static void requests_that_make_no_sense(void **state)
{
    (void)state;
    const char *in = at("dense-bf16"), *out = at("made");
    refuse(in, out, NULL, STILE_ERROR_ARGUMENT, "no format");
    refuse(in, out, &(struct stile_quantize_options){.format = "q9_z"}, STILE_ERROR_ARGUMENT, "q4_k_m");
    refuse(in, "", &(struct stile_quantize_options){.format = "q8_0"}, STILE_ERROR_ARGUMENT, "no name");
    refuse(in, out, &(struct stile_quantize_options){.format = "q8_0", .n_threads = 100000}, STILE_ERROR_ARGUMENT,
           "threads");
    refuse(in, out, &(struct stile_quantize_options){.format = "q8_0", .imatrix = "/none"}, STILE_ERROR_IO, "/none");
}

static void numbers_must_be_finite(void **state)
{
    (void)state;
    struct gguf_write file;
    struct buffer bytes = {0};
    gguf_write_init(&file);
    gguf_write_tiny_model(&file);
    struct gguf_write_tensor *t = gguf_write_get_tensor(&file, "blk.0.ffn_up.weight");
    gguf_patch_u32(&t->data, 4 * (3 * TINY_WIDTH + 5), 0x7f800000);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    FILE *out = fopen(at("infinite"), "wb");
    assert_int_equal(fwrite(bytes.data, 1, bytes.n, out), bytes.n);
    fclose(out);
    buffer_free(&bytes);
    refuse(at("infinite"), at("made"), &(struct stile_quantize_options){.format = "q8_0"}, STILE_ERROR_MALFORMED,
           "blk.0.ffn_up.weight: row 3");
    unlink(at("made.partial"));
    unlink(at("infinite"));
}

/* What the model's family does not know stays, and keys about shards go. */
static void unknown_tensors_are_copied(void **state)
{
    (void)state;
    struct gguf_write file;
    struct buffer bytes = {0};
    gguf_write_init(&file);
    gguf_write_tiny_model(&file);
    gguf_write_floats(&file, "adapter.weight", 2, (uint64_t[]){64, 3}, 0, 1);
    gguf_write_tensor(&file, "numbers", FORMAT_I32, 1, (uint64_t[]){5});
    gguf_write_u32(&file, "split.count", 0);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    FILE *out = fopen(at("odd"), "wb");
    assert_int_equal(fwrite(bytes.data, 1, bytes.n, out), bytes.n);
    fclose(out);
    buffer_free(&bytes);
    quantize(at("odd"), at("made"), &(struct stile_quantize_options){.format = "q4_k_m"});
    struct gguf *in = open_gguf(at("odd")), *made = open_gguf(at("made"));
    assert_int_equal(gguf_find_tensor(made, "adapter.weight")->format, FORMAT_F32);
    assert_true(distance(in, made, "adapter.weight") == 0);
    assert_int_equal(gguf_find_tensor(made, "numbers")->format, FORMAT_I32);
    assert_int_equal(gguf_find_tensor(made, "blk.0.ffn_up.weight")->format, FORMAT_Q5_0); /* rows of 32 */
    assert_null(gguf_find(made, "split.count"));
    gguf_close(in);
    gguf_close(made);
    unlink(at("made"));
    unlink(at("odd"));
}

/* ---- Hugging Face folders ------------------------------------------------------------------------ */

static const char *golden = "build/golden";

/* A folder and a GGUF file of the same weights give the same tensors: rows of heads, experts that lie apart, norms. */
static void folders_are_as_good(void **state)
{
    (void)state;
    static const char *const names[] = {"llama_bf16", "llama_f16", "llama_bias", "llama3_rope",
                                        "mixtral",    "qwen2",     "gemma3",     "qwen3_moe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[200];
        for (int file = 0; file < 2; file++) {
            snprintf(path, sizeof path, "%s/folders/%s%s", golden, names[i], file ? ".gguf" : "");
            quantize(path, at(file ? "made" : "again"),
                     &(struct stile_quantize_options){.format = i % 2 ? "f16" : "q8_0", .n_threads = 2});
        }
        struct gguf *a = open_gguf(at("made")), *b = open_gguf(at("again"));
        assert_int_equal(a->n_tensors, b->n_tensors);
        for (size_t t = 0; t < a->n_tensors; t++) {
            const struct gguf_tensor *x = &a->tensors[t], *y = gguf_find_tensor(b, x->name);
            if (!y || x->format != y->format || x->size_bytes != y->size_bytes ||
                memcmp(x->data, y->data, x->size_bytes) != 0)
                fail_msg("%s: %s differs", names[i], x->name);
        }
        gguf_close(a);
        gguf_close(b);
        unlink(at("made"));
        unlink(at("again"));
    }
}

/* ---- sizes --------------------------------------------------------------------------------------- */

/* A size is kept to and used up; more of it loses less; a recipe's tensors are left alone. */
static void a_size_is_kept(void **state)
{
    (void)state;
    struct stile_model *model = open_model(at("dense-bf16"));
    struct stile_error error;
    struct gguf *in = open_gguf(at("dense-bf16"));
    double before = INFINITY;
    static const double bits[] = {3.5, 5, 8};
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        struct stile_quantize_options options = {
            .target_bits_per_weight = bits[i], .n_threads = 1 + (uint32_t)i, .recipe = "blk.1.attn_k.weight=q8_0"};
        struct stile_quantization made;
        if (stile_quantize(model, at("made"), &options, &made, &error) != 0) fail_msg("%s", error.message);
        assert_true(made.bits_per_weight <= bits[i] && made.bits_per_weight > bits[i] - 0.25);
        options.target_bits_per_weight = 0;
        options.target_bytes = made.size_bytes;
        stile_quantization_free(&made);
        if (stile_quantize(model, at("again"), &options, &made, &error) != 0) fail_msg("%s", error.message);
        assert_true(made.size_bytes <= options.target_bytes && made.size_bytes > options.target_bytes * 97 / 100);
        stile_quantization_free(&made);
        struct gguf *file = open_gguf(at("made"));
        assert_int_equal(gguf_find_tensor(file, "blk.1.attn_k.weight")->format, FORMAT_Q8_0);
        double now = distance(in, file, "blk.0.ffn_down.weight") + distance(in, file, "output.weight");
        assert_true(now < before);
        before = now;
        gguf_close(file);
        unlink(at("made"));
        unlink(at("again"));
    }
    gguf_close(in);
    stile_model_close(model);
    refuse(at("dense-bf16"), at("made"), &(struct stile_quantize_options){.target_bits_per_weight = 0.9},
           STILE_ERROR_ARGUMENT, "cannot be made so small");
    refuse(at("dense-bf16"), at("made"), &(struct stile_quantize_options){.format = "q8_0", .target_bytes = 1000000},
           STILE_ERROR_ARGUMENT, "exclude each other");
    refuse(at("dense-bf16"), at("made"), &(struct stile_quantize_options){.fit = "rtx0000"}, STILE_ERROR_ARGUMENT,
           "rtx0000");
    quantize(at("dense-bf16"), at("made"), &(struct stile_quantize_options){.fit = "rtx4090", .n_threads = 1});
    assert_same_files(at("made"), at("dense-bf16")); /* all of it fits: nothing is lost */
    unlink(at("made"));
}

/* ---- all ----------------------------------------------------------------------------------------- */

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    make_model(&dense, "bf16", at("dense-bf16"));
    make_model(&mixture, "bf16", at("mixture-bf16"));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"dense-bf16", "mixture-bf16", "imatrix", "recipe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(at(names[i]));
    return rmdir(folder); /* tests leave nothing else */
}

int main(int argc, char **argv)
{
    if (argc > 1) golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format),
        cmocka_unit_test(the_same_format_is_copied),
        cmocka_unit_test(second_scales_of_experts),
        cmocka_unit_test(importance_counts),
        cmocka_unit_test(recipes),
        cmocka_unit_test(resuming_gives_the_same_bytes),
        cmocka_unit_test(resuming_something_else_is_refused),
        cmocka_unit_test(another_importance_matrix),
        cmocka_unit_test(what_is_in_the_way),
        cmocka_unit_test(requests_that_make_no_sense),
        cmocka_unit_test(numbers_must_be_finite),
        cmocka_unit_test(unknown_tensors_are_copied),
        cmocka_unit_test(folders_are_as_good),
        cmocka_unit_test(a_size_is_kept),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
