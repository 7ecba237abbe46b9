#include "lab/compare.h"
#include "base/buffer.h"
#include "base/error.h"
#include "lab/record.h"
#include "lab/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 256 << 20 };

/* ---- reading -------------------------------------------------------------------------------- */

static int read_file(const char *path, struct buffer *text, struct stile_error *error)
{
    char part[1 << 14];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file) return error_set(error, STILE_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    text->limit = FILE_BYTES_MAX;
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        buffer_add(text, part, n);
    int failed = 0;
    if (ferror(file)) failed = error_set(error, STILE_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (!failed && text->failed)
        failed = error_set(error, STILE_ERROR_MEMORY, "%s: more than %d bytes", path, FILE_BYTES_MAX);
    fclose(file);
    return failed;
}

/* Appends the record, or the records of the array; takes the value. */
static bool add_records(json_t *records, json_t *value)
{
    bool ok = true;
    struct stats stats;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && ok; i++)
            ok = add_records(records, json_incref(json_array_get(value, i)));
    } else {
        ok = json_is_object(value) && *record_text(value, "test") && record_stats(value, &stats) &&
             json_array_append(records, value) == 0;
    }
    json_decref(value);
    return ok;
}

int records_load(const char *path, json_t **records, struct stile_error *error)
{
    struct buffer text = {0};
    json_error_t where = {0};
    json_t *array = json_array();
    int failed = read_file(path, &text, error);
    for (size_t at = 0; !failed && at < text.n;) {
        /* white space at the end is no record */
        at += strspn(text.data + at, " \t\r\n");
        if (at >= text.n) break;
        json_t *value = json_loadb(text.data + at, text.n - at, JSON_DISABLE_EOF_CHECK, &where);
        if (!value)
            failed = error_set(error, STILE_ERROR_MALFORMED, "%s: offset %zu: not JSON: %s", path,
                               at + (size_t)where.position, where.text);
        else if (!add_records(array, value))
            failed = error_set(error, STILE_ERROR_MALFORMED,
                               "%s: value at offset %zu is no record of 'stile bench' (make it with --json or --jsonl)",
                               path, at);
        at += (size_t)where.position;
    }
    buffer_free(&text);
    if (!failed && json_array_size(array) == 0)
        failed = error_set(error, STILE_ERROR_MALFORMED, "%s: no records in it", path);
    if (failed)
        json_decref(array);
    else
        *records = array;
    return failed;
}

/* ---- pairing -------------------------------------------------------------------------------- */

static const char *const key_texts[] = {"test", "model", "format", "kv", "metric"};
static const char *const key_numbers[] = {"threads", "batch", "depth", "n_parameters"};
/* What may well differ (that may be what is compared), but should be known; said where it does. */
static const char *const context_texts[] = {"isa",     "machine.cpu", "machine.kernel", "machine.governor",
                                            "version", "commit"};

enum { N_KEY_TEXTS = sizeof key_texts / sizeof *key_texts, N_KEY_NUMBERS = sizeof key_numbers / sizeof *key_numbers };

static bool same_key(const json_t *a, const json_t *b)
{
    for (int i = 0; i < N_KEY_TEXTS; i++)
        if (strcmp(record_text(a, key_texts[i]), record_text(b, key_texts[i])) != 0) return false;
    for (int i = 0; i < N_KEY_NUMBERS; i++)
        if (record_number(a, key_numbers[i]) != record_number(b, key_numbers[i])) return false;
    return true;
}

static void note_differences(json_t *differs, const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < sizeof context_texts / sizeof *context_texts; i++) {
        bool known = false;
        for (size_t k = 0; k < json_array_size(differs); k++)
            known |= strcmp(json_string_value(json_array_get(differs, k)), context_texts[i]) == 0;
        if (!known && strcmp(record_text(a, context_texts[i]), record_text(b, context_texts[i])) != 0)
            json_array_append_new(differs, json_string(context_texts[i]));
    }
}

static json_t *pair_json(const json_t *a, const json_t *b)
{
    struct stats stats_a, stats_b;
    json_t *pair = json_object();
    if (!record_stats(a, &stats_a) || !record_stats(b, &stats_b)) return pair;
    struct stats_ratio ratio = stats_ratio_of(&stats_a, &stats_b);
    for (int i = 0; i < N_KEY_TEXTS; i++)
        json_object_set_new(pair, key_texts[i], json_string(record_text(a, key_texts[i])));
    for (int i = 0; i < N_KEY_NUMBERS; i++)
        json_object_set(pair, key_numbers[i], json_object_get(a, key_numbers[i]));
    json_object_set_new(pair, "a", json_real(stats_a.median));
    json_object_set_new(pair, "b", json_real(stats_b.median));
    json_object_set_new(pair, "ratio", json_real(ratio.ratio));
    json_object_set_new(pair, "low", json_real(ratio.low));
    json_object_set_new(pair, "high", json_real(ratio.high));
    bool more = ratio.ratio > 1, more_is_better = strcmp(record_metric(a), "seconds") != 0;
    const char *faster = !ratio.beyond_noise ? "" : more == more_is_better ? "b" : "a";
    json_object_set_new(pair, "faster", json_string(faster));
    json_object_set_new(pair, "beyond_noise", json_boolean(ratio.beyond_noise));
    return pair;
}

json_t *compare_records(const json_t *a, const json_t *b)
{
    size_t n_a = json_array_size(a), n_b = json_array_size(b), n_pairs = 0;
    bool *taken = calloc(n_b + 1, sizeof *taken);
    json_t *pairs = json_array(), *differs = json_array();
    for (size_t i = 0; i < n_a && taken; i++) {
        const json_t *left = json_array_get(a, i);
        for (size_t k = 0; k < n_b; k++) {
            const json_t *right = json_array_get(b, k);
            if (taken[k] || !same_key(left, right)) continue;
            taken[k] = true;
            n_pairs++;
            json_array_append_new(pairs, pair_json(left, right));
            note_differences(differs, left, right);
            break;
        }
    }
    json_t *comparison = json_pack("{s:o, s:I, s:I, s:o}", "pairs", pairs, "only_in_a", (json_int_t)(n_a - n_pairs),
                                   "only_in_b", (json_int_t)(n_b - n_pairs), "differs", differs);
    free(taken);
    return comparison;
}

void compare_show(FILE *stream, const json_t *comparison)
{
    const json_t *pairs = json_object_get(comparison, "pairs"), *differs = json_object_get(comparison, "differs");
    fprintf(stream, "%-30s %-8s %7s  %-16s %10s %10s   %-22s %s\n", "model", "format", "threads", "test", "A", "B",
            "B / A", "");
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *faster = record_text(pair, "faster");
        char model[128], ratio[64];
        table_text(model, sizeof model, record_text(pair, "model"), 30);
        snprintf(ratio, sizeof ratio, "%.3f [%.3f, %.3f]", record_number(pair, "ratio"), record_number(pair, "low"),
                 record_number(pair, "high"));
        fprintf(stream, "%s %-8s %7.0f  %-16s %10.4g %10.4g   %-22s %s\n", model, record_text(pair, "format"),
                record_number(pair, "threads"), record_text(pair, "test"), record_number(pair, "a"),
                record_number(pair, "b"), ratio,
                *faster == 'b'   ? "B is faster"
                : *faster == 'a' ? "A is faster"
                                 : "within noise");
    }
    double only_a = record_number(comparison, "only_in_a"), only_b = record_number(comparison, "only_in_b");
    if (only_a > 0 || only_b > 0) fprintf(stream, "without a partner: %.0f records of A, %.0f of B\n", only_a, only_b);
    for (size_t i = 0; i < json_array_size(differs); i++)
        fprintf(stream, "not the same in both: %s\n", json_string_value(json_array_get(differs, i)));
}
