/* Making a file of a model in other formats: the public function, from options to a finished file. */
#include "base/clock.h"
#include "base/threads.h"
#include "quantize/convert.h"
#include "quantize/gptq.h"
#include "quantize/target.h"
#include "run/loaded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct quantize {
    const struct stile_model *model;
    const char *path;
    const struct stile_quantize_options *options;
    struct stile_quantization *result;
    const struct mix *mix;
    struct imatrix *imatrix; /* may be NULL */
    struct recipe recipe;
    struct table table;
    struct chunks chunks; /* of the text, with a method that needs one */
};

/* ---- what is asked for --------------------------------------------------------------------------- */

static struct convert_options convert_options(const struct quantize *q)
{
    const struct stile_quantize_options *options = q->options;
    return (struct convert_options){
        .n_threads = options->n_threads > 0 ? (int)options->n_threads : threads_default_count(),
        .cancel = options->cancel,
        .on_progress = options->on_progress,
        .user = options->user,
    };
}

static int find_mix(struct quantize *q, struct stile_error *error)
{
    char names[400];
    const char *name = q->options->format;
    if (!name || !*name) return error_set(error, STILE_ERROR_ARGUMENT, "no format was given to quantize to");
    q->mix = mix_find(name);
    if (q->mix) return 0;
    mix_names(names, sizeof names);
    return error_set(error, STILE_ERROR_ARGUMENT, "format \"%.100s\" is unknown (known: %s)", name, names);
}

/* Bytes of a file that lies in the fastest memory of a machine, beside what a session needs. */
static int find_room(const struct quantize *q, uint64_t *file_bytes, struct stile_error *error)
{
    struct stile_plan plan;
    const struct stile_plan_options options = {.session = {.n_ctx = q->options->n_ctx}, .machine = q->options->fit};
    int failed = stile_plan_make(&plan, q->model, &options, error);
    if (failed) return failed;
    const struct stile_memory *memory = &plan.memory;
    uint64_t other_bytes = memory->kv_bytes + memory->activations_bytes + memory->other_bytes;
    uint64_t capacity_bytes = plan.n_tiers > 0 ? plan.tiers[0].capacity_bytes : 0;
    if (capacity_bytes <= other_bytes)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s: a context of %u tokens alone needs %.1f GB of its %.1f GB (--ctx makes it shorter)",
                         plan.machine, plan.n_ctx, 1e-9 * (double)other_bytes, 1e-9 * (double)capacity_bytes);
    *file_bytes = capacity_bytes - other_bytes;
    return 0;
}

/* The format that most bytes are in, as a mix. */
static const struct mix *main_mix(const struct table *table)
{
    uint64_t bytes[FORMAT_COUNT] = {0};
    enum format most = FORMAT_F32;
    for (size_t i = 0; i < table->n; i++) {
        const struct table_tensor *t = &table->tensors[i];
        uint64_t row_bytes = 0;
        if (t->matrix && format_row_bytes(t->format, t->cols, &row_bytes)) bytes[t->format] += t->rows * row_bytes;
        if (bytes[t->format] > bytes[most]) most = t->format;
    }
    for (size_t i = 0; mix_at(i); i++)
        if (mix_base(mix_at(i)) == most) return mix_at(i);
    return mix_at(0);
}

static int use_target(struct quantize *q, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    struct target target = {options->target_bits_per_weight, options->target_bytes};
    struct convert_options convert = convert_options(q);
    uint64_t header_bytes;
    if (q->model->header_only)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s: what formats cost is measured with the weights, and only the header is here",
                         q->model->path);
    int failed = options->fit ? find_room(q, &target.file_bytes, error) : 0;
    if (!failed) failed = table_header_bytes(&q->table, q->imatrix, options->imatrix, &header_bytes, error);
    if (!failed) failed = target_choose(&q->table, &target, header_bytes, &convert, error);
    if (!failed) q->mix = main_mix(&q->table);
    return failed;
}

static int choose_formats(struct quantize *q, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    bool sized = options->target_bits_per_weight > 0 || options->target_bytes > 0 || options->fit;
    int failed = sized ? 0 : find_mix(q, error);
    if (!failed && options->imatrix) failed = imatrix_open(&q->imatrix, options->imatrix, error);
    if (!failed && options->recipe) failed = recipe_open(&q->recipe, options->recipe, error);
    if (!failed) failed = table_create(&q->table, q->model->model, q->imatrix, error);
    if (failed) return failed;
    if (!sized) table_use_mix(&q->table, q->mix, q->imatrix != NULL);
    if (options->recipe) failed = table_use_recipe(&q->table, &q->recipe, error);
    if (!failed && sized) failed = use_target(q, error);
    if (failed) return failed;
    return table_finish(&q->table, mix_file_type(q->mix), q->imatrix, options->imatrix, error);
}

/* ---- what is said of it -------------------------------------------------------------------------- */

/* Formats that are hardly usable without knowing what matters. */
static bool wants_importance(enum format format)
{
    return format == FORMAT_IQ1_S || format == FORMAT_IQ1_M || format == FORMAT_IQ2_XXS || format == FORMAT_IQ2_XS ||
           format == FORMAT_IQ2_S || format == FORMAT_IQ3_XXS;
}

static void warn(const struct quantize *q, const struct stile_quantization *result)
{
    const struct stile_quantize_options *options = q->options;
    const char *low = NULL;
    char formats[64] = "";
    char text[300];
    if (!options->on_warning) return;
    for (size_t i = 0; i < q->table.n; i++) {
        const struct table_tensor *t = &q->table.tensors[i];
        if (!t->matrix || table_is_copied(t) || !table_is_quantized(t->format)) continue;
        const char *from = format_info(t->in->format)->name;
        if (wants_importance(t->format) && !q->imatrix) low = format_info(t->format)->name;
        size_t n = strlen(formats);
        if (table_is_quantized(t->in->format) && !strstr(formats, from) && n + 20 < sizeof formats)
            snprintf(formats + n, sizeof formats - n, "%s%s", n > 0 ? ", " : "", from);
    }
    if (result->n_requantized > 0) {
        snprintf(
            text, sizeof text,
            "%u tensors are quantized already (%s): what that lost stays lost, and rounding again adds to it; where "
            "there is a F16 or BF16 original, begin with that",
            result->n_requantized, formats);
        options->on_warning(options->user, text);
    }
    if (low) {
        snprintf(text, sizeof text,
                 "%s loses much where it is not known which weights matter: give an importance matrix (--imatrix)",
                 low);
        options->on_warning(options->user, text);
    }
    if (result->n_no_importance > 0) {
        snprintf(text, sizeof text,
                 "%.200s says nothing of %u of the tensors that are quantized: there all inputs count alike",
                 options->imatrix, result->n_no_importance);
        options->on_warning(options->user, text);
    }
}

static int describe(const struct quantize *q, struct stile_quantization *result, struct stile_error *error)
{
    const struct table *table = &q->table;
    uint64_t n_parameters = 0, data_bytes = 0;
    const struct gguf *gguf = q->model->model->gguf;
    *result = (struct stile_quantization){.format = mix_name(q->mix), .size_bytes = table->size_bytes};
    result->tensors = calloc(table->n + 1, sizeof *result->tensors);
    if (!result->tensors) return error_memory(error, table->n * sizeof *result->tensors, "the table of tensors");
    result->n_tensors = table->n;
    for (size_t i = 0; i < table->n; i++) {
        const struct table_tensor *t = &table->tensors[i];
        struct stile_quantize_tensor *out = &result->tensors[i];
        *out = (struct stile_quantize_tensor){
            .to = format_info(t->format)->name, .n_parameters = t->rows * t->cols, .to_bytes = t->size_bytes};
        memcpy(out->name, t->name, sizeof out->name);
        data_bytes += t->size_bytes;
        if (!t->in) continue;
        n_parameters += out->n_parameters;
        out->from = format_info(t->in->format)->name;
        out->from_bytes = t->in->size_bytes;
        bool quantizes = t->matrix && !table_is_copied(t) && table_is_quantized(t->format);
        result->n_requantized += quantizes && table_is_quantized(t->in->format);
        /* the embedding is looked up, not multiplied with, so nothing measures its inputs */
        result->n_no_importance += quantizes && q->imatrix && !t->importance && t->role >= ROLE_LAYER_FIRST;
    }
    for (size_t i = 0; i < gguf->n_tensors; i++)
        result->from_bytes += gguf->tensors[i].size_bytes;
    if (n_parameters > 0) result->bits_per_weight = 8 * (double)data_bytes / (double)n_parameters;
    return 0;
}

/* ---- what the bytes follow from ------------------------------------------------------------------ */

/* FNV-1a, over words. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        uint64_t word = 0;
        size_t part = n < sizeof word ? n : sizeof word;
        memcpy(&word, at, part);
        hash = (hash ^ word) * 0x100000001b3u;
        at += part;
        n -= part;
    }
    return hash;
}

static void find_causes(const struct quantize *q, uint64_t causes[OUTPUT_N_CAUSES])
{
    const struct gguf *gguf = q->model->model->gguf;
    const char *version = stile_version(), *commit = stile_commit();
    for (int i = 0; i < OUTPUT_N_CAUSES; i++)
        causes[i] = 0xcbf29ce484222325u;
    for (uint32_t i = 0; gguf->maps && i < gguf->n_shards; i++) {
        struct stat status;
        if (fstat(map_fd(gguf->maps[i]), &status) != 0) continue;
        uint64_t what[] = {(uint64_t)status.st_size, (uint64_t)status.st_mtim.tv_sec, (uint64_t)status.st_mtim.tv_nsec};
        causes[OUTPUT_INPUT] = hash_bytes(causes[OUTPUT_INPUT], what, sizeof what);
    }
    for (size_t i = 0; q->imatrix && i < q->imatrix->n_entries; i++) {
        const struct imatrix_entry *entry = &q->imatrix->entries[i];
        causes[OUTPUT_IMATRIX] = hash_bytes(causes[OUTPUT_IMATRIX], entry->name, strlen(entry->name));
        causes[OUTPUT_IMATRIX] = hash_bytes(causes[OUTPUT_IMATRIX], entry->means, entry->n * sizeof *entry->means);
    }
    causes[OUTPUT_OPTIONS] = hash_bytes(causes[OUTPUT_OPTIONS], q->table.header.data, q->table.header.n);
    if (q->chunks.n > 0) {
        size_t n_tokens = (size_t)q->chunks.n * q->chunks.n_ctx;
        causes[OUTPUT_OPTIONS] = hash_bytes(causes[OUTPUT_OPTIONS], q->options->method, strlen(q->options->method));
        causes[OUTPUT_OPTIONS] = hash_bytes(causes[OUTPUT_OPTIONS], q->chunks.tokens, n_tokens * sizeof(int32_t));
    }
    causes[OUTPUT_PROGRAM] = hash_bytes(causes[OUTPUT_PROGRAM], version, strlen(version));
    causes[OUTPUT_PROGRAM] = hash_bytes(causes[OUTPUT_PROGRAM], commit, strlen(commit));
}

/* ---- making it ----------------------------------------------------------------------------------- */

static uint64_t done_bytes(const struct table *table, size_t n_done)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n_done; i++)
        bytes += table->tensors[i].size_bytes;
    return bytes;
}

/* Those that the method makes; where others are complete (they come later), so are these. */
static int make_by_method(struct quantize *q, struct output *output, bool complete, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    struct gptq_options gptq = {.on_progress = options->on_progress, .user = options->user};
    if (q->chunks.n == 0) return 0;
    for (size_t i = 0; i < q->table.n; i++)
        q->table.tensors[i].made = gptq_takes(&q->table.tensors[i]);
    if (complete) return 0;
    int failed = walk_options_of(&gptq.walk, q->model, options->n_threads, NULL, options->cancel, error);
    return failed ? failed : gptq_run(q->model, &q->table, &q->chunks, output, &gptq, error);
}

static int write_tensors(struct quantize *q, struct output *output, size_t first, bool keep_cache,
                         struct stile_error *error)
{
    struct convert_options convert = convert_options(q);
    convert.forget = !keep_cache;
    int failed = convert_table(&q->table, first, output, &convert, error);
    return failed ? failed : gguf_check_maps(q->model->model->gguf, error);
}

static int make(struct quantize *q, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    /* what fits into memory stays there: it may be needed soon */
    bool keep_cache = q->result->from_bytes + q->result->size_bytes < stile_memory_free() / 2;
    struct output_request request = {
        .path = q->path,
        .in = q->model->model->gguf,
        .header = &q->table.header,
        .size_bytes = q->table.size_bytes,
        .force = options->force,
        .resume = options->resume,
        .keep_cache = keep_cache,
    };
    struct output *output;
    uint64_t n_done;
    find_causes(q, request.causes);
    if (options->dry_run) {
        request.force = true; /* looking is free */
        int failed = q->path ? output_check(&request, error) : 0;
        if (!failed) warn(q, q->result);
        return failed;
    }
    int failed = output_open(&output, &request, &n_done, error);
    if (failed) return failed;
    warn(q, q->result);
    size_t first = n_done < q->table.n ? (size_t)n_done : q->table.n;
    q->result->resumed_bytes = done_bytes(&q->table, first);
    failed = make_by_method(q, output, first > 0, error);
    if (!failed) failed = write_tensors(q, output, first, keep_cache, error);
    if (!failed) failed = output_finish(output, error);
    output_close(output);
    return failed;
}

static int check_request(const struct quantize *q, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    int n_ways = (options->format != NULL) + (options->target_bits_per_weight > 0) + (options->target_bytes > 0) +
                 (options->fit != NULL);
    if (n_ways > 1)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "a format, bits per weight, a size and a machine to fit exclude each other: give one");
    if (q->model->header_only && !q->options->dry_run)
        return error_set(error, STILE_ERROR_ARGUMENT, "%s: only the header of this model is open, not its weights",
                         q->model->path);
    if (q->options->n_threads > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%u threads are more than %d", q->options->n_threads,
                         THREADS_MAX);
    if (!q->options->dry_run && (!q->path || !*q->path))
        return error_set(error, STILE_ERROR_ARGUMENT, "the file to be made has no name");
    if (q->options->method && strcmp(q->options->method, "gptq") != 0)
        return error_set(error, STILE_ERROR_ARGUMENT, "no method is called \"%.50s\" (known: gptq)",
                         q->options->method);
    return 0;
}

static int read_text(struct quantize *q, struct stile_error *error)
{
    const struct stile_quantize_options *options = q->options;
    if (!options->method || options->dry_run) return 0;
    return chunks_create(&q->chunks, q->model, options->text, options->n_text_bytes, 0, options->n_chunks, error);
}

int stile_quantize(const struct stile_model *model, const char *path, const struct stile_quantize_options *options,
                   struct stile_quantization *result, struct stile_error *error)
{
    static const struct stile_quantize_options defaults;
    uint64_t begin_ns = clock_ns();
    struct stile_quantization own = {0};
    struct quantize q = {.model = model, .path = path, .options = options ? options : &defaults, .result = &own};
    int failed = check_request(&q, error);
    if (!failed) failed = read_text(&q, error);
    if (!failed) failed = choose_formats(&q, error);
    if (!failed) failed = describe(&q, &own, error);
    if (!failed) failed = make(&q, error);
    own.time_ns = clock_ns() - begin_ns;
    table_free(&q.table);
    recipe_close(&q.recipe);
    imatrix_close(q.imatrix);
    chunks_free(&q.chunks);
    if (result)
        *result = own;
    else
        stile_quantization_free(&own);
    return failed;
}

void stile_quantization_free(struct stile_quantization *result)
{
    if (!result) return;
    free(result->tensors);
    *result = (struct stile_quantization){0};
}

const char *stile_quantize_format(size_t i)
{
    const struct mix *mix = mix_at(i);
    return mix ? mix_name(mix) : NULL;
}
