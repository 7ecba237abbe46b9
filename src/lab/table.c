#include "lab/table.h"
#include "lab/record.h"

#include <string.h>

void table_text(char *out, size_t capacity, const char *text, size_t width)
{
    size_t n = 0, columns = 0;
    while (*text && (width == 0 || columns < width)) {
        const unsigned char *at = (const unsigned char *)text;
        size_t length = 1;
        while ((at[length] & 0xc0) == 0x80)
            length++;
        bool control = at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && length > 1 && at[1] < 0xa0);
        if (n + length >= capacity) break;
        if (control)
            out[n++] = '?';
        else
            memcpy(out + n, text, length), n += length;
        text += length;
        columns++;
    }
    for (; columns < width && n + 1 < capacity; columns++)
        out[n++] = ' ';
    out[n] = 0;
}

static void size_text(char out[32], double size_bytes)
{
    if (size_bytes < 1e9)
        snprintf(out, 32, "%.1f MiB", size_bytes / (1 << 20));
    else
        snprintf(out, 32, "%.2f GiB", size_bytes / (1 << 30));
}

/* "18.60 ± 0.12", or of a time "41.2 ± 0.3 ms" */
static void value_text(char *out, size_t capacity, const json_t *record)
{
    bool is_time = strcmp(record_metric(record), "seconds") == 0;
    double median = record_number(record, record_metric(record));
    double half = (record_number(record, "high") - record_number(record, "low")) / 2;
    if (is_time)
        snprintf(out, capacity, "%.1f \xc2\xb1 %.1f ms", 1000 * median, 1000 * half);
    else
        snprintf(out, capacity, "%.2f \xc2\xb1 %.2f", median, half);
}

static void count_text(char *out, size_t capacity, double value, double unit, const char *format)
{
    if (value > 0)
        snprintf(out, capacity, format, value / unit);
    else
        snprintf(out, capacity, "-");
}

/* ---- rows for people ------------------------------------------------------------------------ */

enum { N_COLUMNS = 10, CELL = 128 };

static const struct {
    const char *name;
    int width; /* negative: to the left */
} people[N_COLUMNS] = {
    {"model", -28}, {"format", -7}, {"size", 10}, {"threads", 7}, {"batch", 5},
    {"test", -16},  {"t/s", 18},    {"GB/s", 6},  {"limit", 6},   {"runs", 4},
};

static void print_cells(FILE *stream, enum table_style style, char cells[N_COLUMNS][CELL])
{
    for (int i = 0; i < N_COLUMNS; i++) {
        int width = people[i].width, pad = width < 0 ? -width : width;
        for (const char *c = cells[i]; *c; c++)
            pad -= (*c & 0xc0) != 0x80; /* characters, not bytes */
        if (pad < 0) pad = 0;
        if (style == TABLE_MARKDOWN)
            fputs(i ? " | " : "| ", stream);
        else if (i)
            fputs("  ", stream);
        if (width < 0)
            fprintf(stream, "%s%*s", cells[i], pad, "");
        else
            fprintf(stream, "%*s%s", pad, "", cells[i]);
    }
    fputs(style == TABLE_MARKDOWN ? " |\n" : "\n", stream);
}

static void row_for_people(FILE *stream, enum table_style style, const json_t *record)
{
    char cells[N_COLUMNS][CELL], size[32], model[CELL];
    table_text(model, sizeof model, record_text(record, "model"), 28);
    for (char *c = model; *c; c++)
        if (*c == '|' && style == TABLE_MARKDOWN) *c = '/';
    size_text(size, record_number(record, "size_bytes"));
    snprintf(cells[0], CELL, "%s", model);
    table_text(cells[1], CELL, record_text(record, "format"), 7);
    snprintf(cells[2], CELL, "%s", size);
    snprintf(cells[3], CELL, "%.0f", record_number(record, "threads"));
    count_text(cells[4], CELL, record_number(record, "batch"), 1, "%.0f");
    snprintf(cells[5], CELL, "%.40s", record_text(record, "test"));
    value_text(cells[6], CELL, record);
    count_text(cells[7], CELL, record_number(record, "rate_bytes_per_s"), 1e9, "%.2f");
    count_text(cells[8], CELL, record_number(record, "share_of_limit"), 0.01, "%.0f %%");
    struct stats stats = {0};
    record_stats(record, &stats);
    snprintf(cells[9], CELL, "%zu", stats.n);
    print_cells(stream, style, cells);
}

/* ---- CSV ------------------------------------------------------------------------------------ */

static const char *const csv_fields[] = {"test",
                                         "model",
                                         "path",
                                         "architecture",
                                         "format",
                                         "size_bytes",
                                         "n_parameters",
                                         "file_hash",
                                         "threads",
                                         "batch",
                                         "depth",
                                         "n_tokens",
                                         "kv",
                                         "isa",
                                         "metric",
                                         "tokens_per_s",
                                         "seconds",
                                         "min",
                                         "max",
                                         "low",
                                         "high",
                                         "confidence",
                                         "mad",
                                         "spread",
                                         "bytes_per_token",
                                         "rate_bytes_per_s",
                                         "macs_per_s",
                                         "share_of_limit",
                                         "limit",
                                         "limit_bytes_per_s",
                                         "limit_macs_per_s",
                                         "peak_memory_bytes",
                                         "noise.summary",
                                         "machine.cpu",
                                         "machine.n_processors",
                                         "machine.memory_bytes",
                                         "machine.kernel",
                                         "machine.governor",
                                         "machine.isa",
                                         "machine.read_bytes_per_s",
                                         "version",
                                         "commit",
                                         "time"};

enum { N_CSV = sizeof csv_fields / sizeof *csv_fields };

static void csv_text(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"') fputc('"', stream);
        fputc((unsigned char)*text < 0x20 ? ' ' : *text, stream);
    }
    fputc('"', stream);
}

static void csv_row(FILE *stream, const json_t *record)
{
    for (int i = 0; i < N_CSV; i++) {
        const char *text = record_text(record, csv_fields[i]);
        double number = record_number(record, csv_fields[i]);
        if (i) fputc(',', stream);
        if (*text)
            csv_text(stream, text);
        else if (number != 0)
            fprintf(stream, "%.10g", number);
    }
    char name[32];
    snprintf(name, sizeof name, "%s_samples", record_metric(record));
    const json_t *samples = json_object_get(record, name);
    fputc(',', stream);
    for (size_t i = 0; i < json_array_size(samples); i++)
        fprintf(stream, "%s%.10g", i ? " " : "", json_number_value(json_array_get(samples, i)));
    fputc('\n', stream);
}

/* ---- all of them ---------------------------------------------------------------------------- */

void table_head(FILE *stream, enum table_style style)
{
    if (style == TABLE_CSV) {
        for (int i = 0; i < N_CSV; i++)
            fprintf(stream, "%s,", csv_fields[i]);
        fputs("samples\n", stream);
        return;
    }
    char cells[N_COLUMNS][CELL];
    for (int i = 0; i < N_COLUMNS; i++)
        snprintf(cells[i], CELL, "%s", people[i].name);
    print_cells(stream, style, cells);
    if (style != TABLE_MARKDOWN) return;
    for (int i = 0; i < N_COLUMNS; i++)
        fputs(people[i].width < 0 ? "| :--- " : "| ---: ", stream);
    fputs("|\n", stream);
}

void table_row(FILE *stream, enum table_style style, const json_t *record)
{
    if (style == TABLE_CSV)
        csv_row(stream, record);
    else
        row_for_people(stream, style, record);
    fflush(stream);
}

void table_profile(FILE *stream, enum table_style style, const json_t *record, bool layers)
{
    const json_t *profile = json_object_get(record, "profile");
    const json_t *groups = json_object_get(profile, layers ? "layers" : "kinds");
    char model[CELL], name[24];
    if (!groups) return;
    table_text(model, sizeof model, record_text(record, "model"), 0);
    fprintf(stream, "\n%s, %s: where %.1f ms go\n\n", model, record_text(record, "test"),
            record_number(profile, "time_ns") / 1e6);
    bool markdown = style == TABLE_MARKDOWN;
    const char *heading = markdown ? "| %s | %s | %s | %s | %s | %s | %s |\n" : "%-14s %10s %7s %8s %8s %8s %7s\n";
    const char *line = markdown ? "| %s | %.3f | %.1f %% | %.1f %% | %.2f | %.2f | %.0f %% |\n"
                                : "%-14s %10.3f %5.1f %% %6.1f %% %8.2f %8.2f %5.0f %%\n";
    fprintf(stream, heading, layers ? "layer" : "operation", "ms", "share", "waiting", "GB/s", "GMAC/s", "limit");
    if (markdown) fputs("| :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n", stream);
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        double layer = record_number(group, "layer");
        if (!layers)
            table_text(name, sizeof name, record_text(group, "kind"), 14);
        else if (layer < 0)
            snprintf(name, sizeof name, "outside");
        else
            snprintf(name, sizeof name, "%.0f", layer);
        fprintf(stream, line, name, record_number(group, "time_ns") / 1e6, 100 * record_number(group, "share"),
                100 * record_number(group, "waiting_share"), record_number(group, "rate_bytes_per_s") / 1e9,
                record_number(group, "macs_per_s") / 1e9, 100 * record_number(group, "share_of_limit"));
    }
}

void table_notes(FILE *stream, const json_t *record)
{
    char model[CELL];
    table_text(model, sizeof model, record_text(record, "model"), 0);
    if (record_number(record, "ratio_to_first.median") > 0)
        fprintf(stream, "%s, %s, %s: %.3f [%.3f, %.3f] times the first model\n", model, record_text(record, "format"),
                record_text(record, "test"), record_number(record, "ratio_to_first.median"),
                record_number(record, "ratio_to_first.low"), record_number(record, "ratio_to_first.high"));
    if (record_number(record, "tiers.memory_bytes") > 0)
        fprintf(stream, "%s, %s: %.2f GB of weights in memory, %.2f GB a pass from the disk at %.2f GB/s (%s)\n", model,
                record_text(record, "test"), record_number(record, "tiers.resident_bytes") / 1e9,
                record_number(record, "tiers.read_bytes") / 1e9 / record_number(record, "tiers.n_passes"),
                record_number(record, "tiers.read_bytes_per_s") / 1e9, record_text(record, "tiers.mechanism"));
    if (record_number(record, "tiers.expert_hit_rate") > 0)
        fprintf(stream, "%s, %s: %.1f %% of the experts' bytes were found in memory\n", model,
                record_text(record, "test"), 100 * record_number(record, "tiers.expert_hit_rate"));
    if (*record_text(record, "noise.summary"))
        fprintf(stream, "noise: %s, %s: %s\n", model, record_text(record, "test"),
                record_text(record, "noise.summary"));
}
