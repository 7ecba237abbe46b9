/* info.c - `stile info`: what a model is and what it needs. */
#include "cli/commands.h"
#include "cli/header.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FORMATS_MAX = 64 }; /* more than there are number formats */

struct report {
    const struct stile_model *model;
    const struct stile_model_info *info;
    struct stile_format_share formats[FORMATS_MAX];
    size_t n_formats;
    uint32_t n_ctx;
    struct stile_memory memory;
};

/* "134.5 M" */
static const char *count_text(char out[32], uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    double count = (double)n;
    size_t unit = 0;
    while (count >= 1000 && unit + 1 < sizeof units / sizeof *units)
        count /= 1000, unit++;
    snprintf(out, 32, unit == 0 ? "%.0f%s" : "%.4g%s", count, units[unit]);
    return out;
}

static void row(const char *name, const char *text)
{
    if (!*text) return;
    printf("%-16s ", name);
    text_line(stdout, text);
    putchar('\n');
}

static void show_table(const struct report *report)
{
    const struct stile_model_info *info = report->info;
    char text[256], size[32], count[32];
    struct stat status;
    row(stat(info->path, &status) == 0 && S_ISDIR(status.st_mode) ? "folder" : "file", info->path);
    row("name", info->name);
    row("license", info->license);
    row("architecture", info->architecture);
    printf("%-16s %s", "parameters", count_text(count, info->n_parameters));
    if (info->n_experts > 0) printf(", %s of them for a token", count_text(count, info->n_parameters_active));
    putchar('\n');
    printf("%-16s %s", "size", size_text(size, info->size_bytes));
    if (info->n_parameters > 0)
        printf(", %.2f bits per parameter", 8.0 * (double)info->size_bytes / (double)info->n_parameters);
    if (info->n_shards > 1) printf(", in %u files", info->n_shards);
    printf("\n%-16s %u tokens\n", "trained context", info->n_ctx_trained);
    printf("%-16s %u of width %u, ", "layers", info->n_layers, info->d_model);
    if (info->n_experts > 0)
        printf("%u of %u experts of width %u\n", info->n_experts_used, info->n_experts, info->d_ff);
    else
        printf("feed-forward %u\n", info->d_ff);
    printf("%-16s %u of width %u, %u for keys and values", "heads", info->n_heads, info->head_dim, info->n_kv_heads);
    if (info->sliding_window) printf(", window of %u tokens", info->sliding_window);
    putchar('\n');
    snprintf(text, sizeof text, "%s%s%s, %u tokens", info->tokenizer, *info->pretokenizer ? " / " : "",
             info->pretokenizer, info->n_vocab);
    row("tokenizer", text);
    if (info->chat_template)
        printf("%-16s yes, %zu bytes\n", "chat template", strlen(info->chat_template));
    else
        printf("%-16s none: 'stile run' needs --raw\n", "chat template");

    printf("\n%-10s %8s %12s %12s %7s\n", "format", "tensors", "parameters", "size", "share");
    for (size_t i = 0; i < report->n_formats; i++) {
        const struct stile_format_share *share = &report->formats[i];
        printf("%-10s %8" PRIu64 " %12s %12s %6.1f%%\n", share->format, share->n_tensors,
               count_text(count, share->n_parameters), size_text(size, share->size_bytes),
               info->size_bytes ? 100.0 * (double)share->size_bytes / (double)info->size_bytes : 0.0);
    }

    const struct stile_memory *memory = &report->memory;
    printf("\nmemory for a context of %u tokens\n", report->n_ctx);
    const struct {
        const char *name;
        uint64_t size_bytes;
    } parts[] = {
        {"weights", memory->weights_bytes},
        {"KV cache", memory->kv_bytes},
        {"activations", memory->activations_bytes},
        {"other", memory->other_bytes},
        {"draft model", memory->draft_bytes},
        {"all", memory->weights_bytes + memory->kv_bytes + memory->activations_bytes + memory->other_bytes +
                    memory->draft_bytes},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].size_bytes > 0) printf("  %-14s %12s\n", parts[i].name, size_text(size, parts[i].size_bytes));
}

static void show_tensors(const struct report *report)
{
    struct stile_tensor_info tensor;
    char size[32], dims[96];
    printf("\n%-10s %20s %12s  %s\n", "format", "dimensions", "size", "tensor");
    for (uint32_t i = 0; i < report->info->n_tensors; i++) {
        if (stile_model_tensor(report->model, i, &tensor) != STILE_OK) continue;
        int n = 0;
        for (uint32_t d = 0; d < tensor.n_dims; d++)
            n += snprintf(dims + n, sizeof dims - (size_t)n, "%s%" PRIu64, d ? " x " : "", tensor.dims[d]);
        printf("%-10s %20s %12s  ", tensor.format, dims, size_text(size, tensor.size_bytes));
        text_line(stdout, tensor.name);
        putchar('\n');
    }
}

static void set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, text ? json_text(text, strlen(text)) : json_null());
}

static void set_count(json_t *object, const char *name, uint64_t n)
{
    json_object_set_new(object, name, json_integer((json_int_t)n));
}

static json_t *tensors_json(const struct report *report)
{
    json_t *tensors = json_array();
    struct stile_tensor_info tensor;
    for (uint32_t i = 0; i < report->info->n_tensors; i++) {
        if (stile_model_tensor(report->model, i, &tensor) != STILE_OK) continue;
        json_t *object = json_object(), *dims = json_array();
        for (uint32_t d = 0; d < tensor.n_dims; d++)
            json_array_append_new(dims, json_integer((json_int_t)tensor.dims[d]));
        set_text(object, "name", tensor.name);
        set_text(object, "format", tensor.format);
        json_object_set_new(object, "dims", dims);
        set_count(object, "size_bytes", tensor.size_bytes);
        set_count(object, "offset_bytes", tensor.offset_bytes);
        set_count(object, "shard", tensor.shard);
        json_array_append_new(tensors, object);
    }
    return tensors;
}

static json_t *report_json(const struct report *report, bool with_tensors)
{
    const struct stile_model_info *info = report->info;
    json_t *object = json_object(), *formats = json_array();
    const struct {
        const char *name, *text;
    } texts[] = {
        {"path", info->path},
        {"name", info->name},
        {"license", info->license},
        {"architecture", info->architecture},
        {"tokenizer", info->tokenizer},
        {"pretokenizer", info->pretokenizer},
        {"chat_template", info->chat_template},
    };
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {
        {"n_parameters", info->n_parameters},
        {"n_parameters_active", info->n_parameters_active},
        {"size_bytes", info->size_bytes},
        {"n_shards", info->n_shards},
        {"n_tensors", info->n_tensors},
        {"n_ctx_trained", info->n_ctx_trained},
        {"n_layers", info->n_layers},
        {"d_model", info->d_model},
        {"d_ff", info->d_ff},
        {"n_experts", info->n_experts},
        {"n_experts_used", info->n_experts_used},
        {"n_heads", info->n_heads},
        {"n_kv_heads", info->n_kv_heads},
        {"head_dim", info->head_dim},
        {"sliding_window", info->sliding_window},
        {"n_vocab", info->n_vocab},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        set_text(object, texts[i].name, texts[i].text);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        set_count(object, counts[i].name, counts[i].n);
    for (size_t i = 0; i < report->n_formats; i++) {
        const struct stile_format_share *share = &report->formats[i];
        json_t *entry = json_object();
        set_text(entry, "format", share->format);
        set_count(entry, "n_tensors", share->n_tensors);
        set_count(entry, "n_parameters", share->n_parameters);
        set_count(entry, "size_bytes", share->size_bytes);
        json_array_append_new(formats, entry);
    }
    json_object_set_new(object, "formats", formats);
    json_t *memory = memory_json(&report->memory);
    set_count(memory, "n_ctx", report->n_ctx);
    json_object_set_new(object, "memory", memory);
    if (with_tensors) json_object_set_new(object, "tensors", tensors_json(report));
    return object;
}

int command_info(const struct options *options)
{
    struct report report = {0};
    struct stile_model *model, *draft = NULL;
    struct stile_error error;
    int status = header_open(&model, options->arguments[0], options->format);
    if (status != EXIT_OK) return status;
    if (options->draft && (status = header_open(&draft, options->draft, options->format)) != EXIT_OK) {
        stile_model_close(model);
        return status;
    }
    report.model = model;
    report.info = stile_model_info(model);
    report.n_formats = stile_model_formats(model, report.formats, FORMATS_MAX);
    report.n_ctx = (uint32_t)options->n_ctx;
    if (report.n_ctx == 0) report.n_ctx = report.info->n_ctx_trained < 4096 ? report.info->n_ctx_trained : 4096;
    const struct stile_session_options session = {
        .n_ctx = report.n_ctx,
        .kv_format = options_kv_format(options),
        .draft = draft,
    };
    if (stile_model_memory(model, &session, &report.memory, &error) != STILE_OK) {
        status = cli_error(&error);
    } else if (options->json) {
        json_show(report_json(&report, options->tensors));
    } else {
        show_table(&report);
        if (options->tensors) show_tensors(&report);
    }
    stile_model_close(draft);
    stile_model_close(model);
    return status;
}
