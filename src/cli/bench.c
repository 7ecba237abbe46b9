/* bench.c - `stile bench`: measures models, or compares two files of measurements. */
#include "base/error.h"
#include "cli/bench_models.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/plan_audit.h"
#include "cli/plan_show.h"
#include "lab/compare.h"
#include "lab/record.h"
#include "lab/table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How results are written. */
struct writer {
    const struct options *options;
    const struct bench_plan *plan;
    enum table_style style;
    json_t *records;
    uint64_t free_bytes;                       /* of memory, before there were models */
    double disk_bytes_per_s[BENCH_MODELS_MAX]; /* of files that will be read from it; 0: not known */
    bool has_line;                             /* of progress, on the terminal */
};

static void clear_line(struct writer *writer)
{
    if (writer->has_line) fputs("\r\033[K", stderr);
    writer->has_line = false;
}

static void on_progress(void *user, const char *what)
{
    struct writer *writer = user;
    fprintf(stderr, "\r\033[K%s", what);
    writer->has_line = true;
}

static void write_jsonl(const json_t *record)
{
    json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    fflush(stdout);
}

/* What is expected of the tests. */
static struct stile_plan_options plan_options(const struct writer *writer, const struct bench_result *result)
{
    const struct bench_plan *plan = writer->plan;
    return (struct stile_plan_options){
        .session = {.n_ctx = result->n_ctx,
                    .n_batch = result->batch,
                    .n_threads = result->threads,
                    .kv_format = plan->kv_format,
                    .memory_limit_bytes = plan->memory_limit_bytes,
                    .place = plan->place},
        .assumed_memory_bytes = writer->free_bytes,
        .n_prompt = result->decode ? 0 : result->n_tokens,
        .n_depth = result->depth,
        .n_generated = result->decode ? result->n_tokens : 0,
    };
}

/* Sets what was expected beside what came of it, and keeps both. */
static void grade(const struct writer *writer, const struct bench_result *result, json_t *record)
{
    struct stile_plan_options asked = plan_options(writer, result);
    struct stile_pace pace = result->pace;
    const bool speed = result->metric == BENCH_TOKENS_PER_S, cold = writer->plan->cold && !result->not_cold;
    const enum plan_kind kind =
        speed ? result->decode ? PLAN_DECODE : PLAN_PREFILL : (cold ? PLAN_FIRST_COLD : PLAN_FIRST_WARM);
    struct stile_plan plan;
    struct stile_estimate predicted, memory;
    pace.disk_bytes_per_s = writer->disk_bytes_per_s[result->i_model];
    if (result->has_pace || pace.disk_bytes_per_s > 0) asked.pace = &pace;
    /* the engine of another instruction set was never probed; beside other work, what comes of it says little */
    if (writer->plan->isa || result->interrupted || result->noise.crowded || result->n_tokens == 0) return;
    if (stile_plan_make(&plan, result->model, &asked, NULL) != STILE_OK) return;
    plan_keep(&plan, result->model, &asked, kind, record_number(record, record_metric(record)), &predicted);
    if (predicted.value > 0) json_object_set_new(record, "predicted", plan_estimate_json(&predicted, 1));
    if (!speed || writer->plan->n_models > 1 || !writer->plan->models[0].path) return;
    /* where weights are streamed, pages of the file (rows of the embedding) come and go */
    const char *used = plan.fits ? "peak_memory_bytes" : "own_memory_bytes";
    plan_keep(&plan, result->model, &asked, PLAN_MEMORY, record_number(record, used), &memory);
    json_object_set_new(record, "predicted_memory_bytes", json_real(memory.value));
}

/* What a model is expected to do in the first of the tests. */
static int plan_first(const struct writer *writer, size_t m, struct plan_report *report, struct stile_error *error)
{
    const struct bench_plan *plan = writer->plan;
    const struct bench_model *from = &plan->models[m];
    const struct bench_result first = {
        .batch = plan->batches.values[0], .threads = plan->threads.values[0], .depth = plan->depths.values[0]};
    const struct stile_header_options header = {.format = from->path ? NULL : from->format};
    struct stile_model *model;
    *report = (struct plan_report){.model = from->path ? from->path : from->shape,
                                   .format = from->path ? NULL : from->format,
                                   .options = plan_options(writer, &first)};
    report->options.n_prompt = plan->prompts.values[0];
    report->options.n_generated = plan->generates.values[0];
    int failed = stile_model_open_header(&model, report->model, &header, error);
    if (failed) return failed;
    failed = stile_plan_make(&report->plan, model, &report->options, error);
    stile_model_close(model);
    return failed;
}

/* Predictions of what is read from the disk hang on how fast that is just now. */
static void look_at_disks(struct writer *writer)
{
    struct plan_report *report = malloc(sizeof *report);
    for (size_t m = 0; report && m < writer->plan->n_models; m++) {
        const char *path = writer->plan->models[m].path;
        if (!path || plan_first(writer, m, report, NULL) != STILE_OK) continue;
        if (!report->plan.fits || writer->plan->cold) writer->disk_bytes_per_s[m] = stile_disk_pace(path);
    }
    free(report);
}

/* Before anything is measured, on stderr. */
static int show_plans(const struct writer *writer, struct stile_error *error)
{
    struct plan_report *report = malloc(sizeof *report);
    int failed = report ? 0 : error_memory(error, sizeof *report, "a plan");
    for (size_t m = 0; m < writer->plan->n_models && !failed; m++) {
        failed = plan_first(writer, m, report, error);
        if (!failed) plan_show(stderr, report);
        fputc('\n', stderr);
    }
    free(report);
    return failed;
}

static void on_result(void *user, const struct bench_result *result)
{
    struct writer *writer = user;
    json_t *record = record_make(writer->plan, result);
    if (!record) return;
    clear_line(writer);
    grade(writer, result, record);
    if (writer->options->jsonl) {
        write_jsonl(record);
    } else if (!writer->options->json) {
        if (json_array_size(writer->records) == 0) table_head(stdout, writer->style);
        table_row(stdout, writer->style, record);
    }
    json_array_append_new(writer->records, record);
}

static void finish(struct writer *writer)
{
    const struct options *options = writer->options;
    if (options->json) {
        json_show(json_incref(writer->records));
    } else if (!options->jsonl && !options->csv) {
        size_t n = json_array_size(writer->records);
        for (size_t i = 0; i < n; i++)
            table_profile(stdout, writer->style, json_array_get(writer->records, i),
                          options->profile && strcmp(options->profile, "layers") == 0);
        putchar('\n');
        for (size_t i = 0; i < n; i++)
            table_notes(stdout, json_array_get(writer->records, i));
    }
}

static struct bench_values values_or(const struct option_list *list, const uint32_t *fallback)
{
    return list->n ? (struct bench_values){list->values, list->n} : (struct bench_values){fallback, 1};
}

static int measure(const struct options *options, const struct bench_models *models)
{
    static const uint32_t prompt = 512, generate = 128, none = 0;
    struct host host;
    struct stile_error error;
    host_describe(&host);
    const uint32_t threads = host.machine.n_threads ? host.machine.n_threads : 1;
    struct writer writer = {.options = options, .records = json_array(), .free_bytes = stile_memory_free()};
    const struct bench_plan plan = {
        .models = models->models,
        .n_models = models->n,
        .prompts = values_or(&options->prompts, &prompt),
        .generates = values_or(&options->generates, &generate),
        .depths = values_or(&options->depths, &none),
        .batches = values_or(&options->batches, &none),
        .threads = values_or(&options->threads, &threads),
        .start = options->start || options->cold,
        .cold = options->cold,
        .profile = options->profile != NULL,
        .kv_format = options_kv_format(options),
        .isa = options->isa,
        .memory_limit_bytes = (uint64_t)options->memory_limit,
        .place = options->place,
        .n_repetitions = (uint32_t)options->n_repetitions,
        .spread = options->spread,
        .time_s = options->time_s,
        .cancel = interrupt_flag(),
        .host = &host,
        .on_progress = isatty(STDERR_FILENO) ? on_progress : NULL,
        .user = &writer,
    };
    writer.plan = &plan;
    writer.style = options->csv ? TABLE_CSV : options->markdown ? TABLE_MARKDOWN : TABLE_PLAIN;
    int failed = options->show_plan ? show_plans(&writer, &error) : 0;
    if (!failed) look_at_disks(&writer);
    if (!failed) failed = bench_run(&plan, on_result, &error);
    clear_line(&writer);
    if (json_array_size(writer.records) > 0) finish(&writer);
    json_decref(writer.records);
    return failed ? cli_error(&error) : EXIT_OK;
}

static bool only_zeros(const struct option_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->values[i]) return false;
    return list->n > 0;
}

static int compare(const struct options *options)
{
    struct stile_error error;
    json_t *records[2] = {NULL, NULL};
    if (options->n_arguments != 2) return cli_usage("bench: --compare takes two files: A.json B.json");
    int failed = records_load(options->arguments[0], &records[0], &error);
    if (!failed) failed = records_load(options->arguments[1], &records[1], &error);
    if (!failed) {
        json_t *comparison = compare_records(records[0], records[1]);
        if (options->json) {
            json_show(comparison);
        } else {
            compare_show(stdout, comparison);
            json_decref(comparison);
        }
    }
    json_decref(records[0]);
    json_decref(records[1]);
    return failed ? cli_error(&error) : EXIT_OK;
}

int command_bench(const struct options *options)
{
    if (options->shapes) {
        for (size_t i = 0; stile_shape_name(i); i++)
            puts(stile_shape_name(i));
        return EXIT_OK;
    }
    if (options->json + options->jsonl + options->csv + options->markdown > 1)
        return cli_usage("bench: --json, --jsonl, --csv and --md are different outputs: give one");
    if (options->compare && (options->jsonl || options->csv || options->markdown))
        return cli_usage("bench: --compare prints a table, or with --json an object");
    if (options->compare) return compare(options);
    if (options->profile && options->csv)
        return cli_usage("bench: a profile does not fit into --csv: --json has all of it");
    if (only_zeros(&options->prompts) && only_zeros(&options->generates) && !options->start && !options->cold &&
        !options->out)
        return cli_usage("bench: -p 0 -n 0 leaves nothing to measure");
    struct bench_models models;
    interrupt_install();
    int status = bench_models_read(&models, options);
    if (status == EXIT_OK) status = measure(options, &models);
    bench_models_free(&models);
    return status;
}
