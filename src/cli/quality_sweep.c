#include "cli/quality_sweep.h"

#include "base/beside.h"
#include "base/clock.h"
#include "base/paths.h"
#include "cli/output.h"
#include "cli/quality_show.h"
#include "cli/svg.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct work {
    const struct options *options;
    struct sweep_plan plan;
    struct sweep_entry entries[SWEEP_ENTRIES_MAX];
    char *list; /* the command line's, cut into names */
    char folder[PATH_MAX];
    const char *text;
    uint64_t begin_ns;
    bool has_line; /* of progress, on the terminal */
};

/* ---- what to measure ------------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_file(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 5 && strcasecmp(name + n - 5, ".gguf") == 0);
}

/* Formats that are only rounded do not look at what matters. */
static bool uses_importance(const char *format)
{
    return strcasecmp(format, "bf16") != 0 && strcasecmp(format, "f16") != 0 && strcasecmp(format, "f32") != 0;
}

static int add(struct work *work, const char *name, bool with_imatrix)
{
    struct sweep_entry *entry = &work->entries[work->plan.n_entries];
    if (work->plan.n_entries == SWEEP_ENTRIES_MAX) return cli_usage("--sweep: more than %d", SWEEP_ENTRIES_MAX);
    *entry = (struct sweep_entry){.file = is_file(name) ? name : NULL, .with_imatrix = with_imatrix};
    snprintf(entry->name, sizeof entry->name, "%s%s", base_name(name), with_imatrix ? "+imatrix" : "");
    if (!entry->file) snprintf(entry->format, sizeof entry->format, "%s", name);
    work->plan.n_entries++;
    return EXIT_OK;
}

static int known_format(const char *name)
{
    for (size_t i = 0; stile_quantize_format(i); i++)
        if (strcasecmp(name, stile_quantize_format(i)) == 0) return EXIT_OK;
    return cli_usage("--sweep: %s is neither a format that can be made nor a file (.gguf)", name);
}

static int read_list(struct work *work)
{
    int status = EXIT_OK;
    work->list = strdup(work->options->sweep);
    if (!work->list) return cli_fail("out of memory");
    char *rest = work->list;
    for (char *name = strsep(&rest, ","); name && status == EXIT_OK; name = strsep(&rest, ",")) {
        if (!*name) return cli_usage("--sweep %s: a name is empty", work->options->sweep);
        if (!is_file(name))
            status = known_format(name);
        else if (access(name, R_OK) != 0)
            return cli_fail("%s: %s", name, strerror(errno));
        if (status == EXIT_OK) status = add(work, name, false);
        if (status == EXIT_OK && work->options->imatrix && !is_file(name) && uses_importance(name))
            status = add(work, name, true);
    }
    return status;
}

/* ---- where files are made ------------------------------------------------------------------- */

static uint64_t room_in(const char *folder)
{
    struct statvfs disk;
    return statvfs(folder, &disk) == 0 && access(folder, W_OK) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}

/* A new folder where there is room for the largest file, and better for the model's logits too. */
static int make_folder(struct work *work)
{
    struct stile_error error;
    char cache[PATH_MAX] = "", size[32], logits[32];
    uint64_t file_bytes, best_bytes = 0;
    const char *best = NULL;
    const struct quality_plan *quality = &work->plan.quality;
    const uint64_t logits_bytes = logits_file_size(quality->windows, stile_model_info(quality->model)->n_vocab);
    path_cache(cache, sizeof cache, "", NULL);
    const char *const places[] = {getenv("TMPDIR"), "/var/tmp", cache};
    if (sweep_size(&work->plan, &file_bytes, &error)) return cli_error(&error);
    for (size_t i = 0; i < sizeof places / sizeof *places && best_bytes < file_bytes + logits_bytes; i++)
        if (places[i] && *places[i] && room_in(places[i]) > best_bytes) best = places[i], best_bytes = room_in(best);
    if (!best || best_bytes < file_bytes)
        return cli_fail("files of %s do not fit into a temporary folder: %s are free in %s (set TMPDIR)",
                        size_text(size, file_bytes), size_text(logits, best_bytes), best ? best : "none");
    work->plan.keep_logits =
        !quality_has_reference(quality) && best_bytes - file_bytes > logits_bytes + logits_bytes / 8;
    int n = snprintf(work->folder, sizeof work->folder, "%s/stile-sweep-XXXXXX", best);
    if (n < 0 || (size_t)n >= sizeof work->folder || !mkdtemp(work->folder)) {
        *work->folder = '\0';
        return cli_fail("%s: cannot make a folder: %s", best, strerror(errno));
    }
    work->plan.folder = work->folder;
    fputs("files are made in ", stderr);
    text_line(stderr, work->folder);
    fprintf(stderr, ", up to %s, one at a time", size_text(size, file_bytes));
    if (work->plan.keep_logits) fprintf(stderr, "; logits of the model, %s", size_text(logits, logits_bytes));
    fputs("; all are removed\n", stderr);
    return EXIT_OK;
}

/* With what an interrupted row left. */
static void remove_folder(const struct work *work)
{
    if (!*work->folder) return;
    DIR *folder = opendir(work->folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder) closedir(folder);
    rmdir(work->folder);
}

/* ---- while it works ------------------------------------------------------------------------- */

static const char *row_name(const struct work *work, size_t i)
{
    return i == 0 ? "the model" : work->entries[i - 1].name;
}

static void clear_line(struct work *work)
{
    if (work->has_line) fputs("\r\033[K", stderr);
    work->has_line = false;
}

static void on_progress(void *user, size_t i_row, const char *what, double share)
{
    struct work *work = user;
    const double spent_s = (double)(clock_ns() - work->begin_ns) * 1e-9;
    const double left_s = spent_s / (double)(i_row ? i_row : 1) * (double)(work->plan.n_entries + 1 - i_row);
    clear_line(work);
    fprintf(stderr, "%zu of %zu, ", i_row + 1, work->plan.n_entries + 1);
    text_line(stderr, row_name(work, i_row));
    fprintf(stderr, ": %s", what);
    if (share > 0) fprintf(stderr, " %.0f%%", 100 * share);
    if (i_row > 0) fprintf(stderr, ", about %.0f minutes left", ceil(left_s / 60));
    work->has_line = true;
}

/* One model makes the same notes for every format. */
static void on_warning(void *user, const char *message)
{
    static char last[1000];
    if (strcmp(last, message) == 0) return;
    snprintf(last, sizeof last, "%s", message);
    clear_line(user);
    fputs("note: ", stderr);
    text_line(stderr, message);
    fputc('\n', stderr);
}

/* ---- results -------------------------------------------------------------------------------- */

static void cell(const char *text, int width, bool left)
{
    int n = 0;
    for (const char *c = text; *c; c++)
        n += (*c & 0xc0) != 0x80;
    printf("%*s", left || n >= width ? 0 : width - n, "");
    text_line(stdout, text);
    printf("%*s", left && n < width ? width - n : 0, "");
}

static void show_row(const struct sweep_row *row, const char *name)
{
    const struct estimates *e = &row->estimates;
    char text[96], size[32];
    cell(row->is_front ? "* " : "  ", 2, true);
    cell(name, 24, true);
    if (!row->done) {
        printf("not measured\n");
        return;
    }
    snprintf(text, sizeof text, "%.2f", row->bits_per_weight);
    cell(text, 6, false);
    cell(size_text(size, row->size_bytes), 10, false);
    snprintf(text, sizeof text, "%.5f \xc2\xb1 %.5f", e->divergence.value, e->divergence.error);
    cell(text, 20, false);
    snprintf(text, sizeof text, "%.4f", e->divergence_quantiles[3].value);
    cell(text, 9, false);
    snprintf(text, sizeof text, "%.2f%%", 100 * e->same_top.value);
    cell(text, 9, false);
    snprintf(text, sizeof text, "%.4f", e->perplexity.value);
    cell(text, 11, false);
    snprintf(text, sizeof text, "%.0f", row->prefill.median);
    cell(row->prefill.n ? text : "-", 10, false);
    snprintf(text, sizeof text, "%.1f", row->decode.median);
    cell(row->decode.n ? text : "-", 9, false);
    putchar('\n');
}

/* Of a file or a format; of the model itself, its file. */
static const char *name_of(const struct work *work, const struct sweep_row *row)
{
    return row->entry ? row->entry->name : base_name(stile_model_info(work->plan.quality.model)->path);
}

static void show(const struct work *work, const struct sweep *sweep)
{
    static const struct {
        const char *name;
        int width;
    } heads[] = {{"bits", 6},     {"size", 10},       {"divergence", 20}, {"99%", 9},
                 {"same top", 9}, {"perplexity", 11}, {"prefill/s", 10},  {"decode/s", 9}};
    cell("  format", 26, true);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        cell(heads[i].name, heads[i].width, false);
    putchar('\n');
    for (size_t i = 0; i < sweep->n_rows; i++)
        if (sweep->rows[i].done || *sweep->rows[i].failure) show_row(&sweep->rows[i], name_of(work, &sweep->rows[i]));
    printf("* nothing that is not larger loses less. %zu windows of %u tokens of ", work->plan.quality.windows->n,
           work->plan.quality.windows->n_ctx);
    text_line(stdout, work->text);
    putchar('\n');
    for (size_t i = 0; i < sweep->n_rows; i++) {
        if (!sweep->rows[i].is_crowded) continue;
        puts("Other processes wanted the processors too: speeds are too low, and differ by more than the formats do.");
        break;
    }
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

static void set_rate(json_t *object, const char *name, const struct stats *stats)
{
    char low[64], high[64];
    snprintf(low, sizeof low, "%s_low", name);
    snprintf(high, sizeof high, "%s_high", name);
    set(object, name, stats->n ? json_real(stats->median) : NULL);
    set(object, low, stats->n ? json_real(stats->low) : NULL);
    set(object, high, stats->n ? json_real(stats->high) : NULL);
}

static json_t *row_json(const struct work *work, const struct sweep_row *row)
{
    json_t *object = json_object();
    const char *name = name_of(work, row),
               *file = row->entry ? row->entry->file : stile_model_info(work->plan.quality.model)->path;
    set(object, "name", json_text(name, strlen(name)));
    set(object, "format", row->entry && !file ? json_string(row->entry->format) : NULL);
    set(object, "file", file ? json_text(file, strlen(file)) : NULL);
    set(object, "imatrix", json_boolean(row->entry && row->entry->with_imatrix));
    set(object, "is_reference", json_boolean(!row->entry && !quality_has_reference(&work->plan.quality)));
    set(object, "failure", *row->failure ? json_text(row->failure, strlen(row->failure)) : NULL);
    if (!row->done) return object;
    set(object, "bits_per_weight", json_real(row->bits_per_weight));
    set(object, "size_bytes", json_integer((json_int_t)row->size_bytes));
    quality_set_estimates(object, &row->estimates, true);
    set_rate(object, "prefill_tokens_per_s", &row->prefill);
    set_rate(object, "decode_tokens_per_s", &row->decode);
    set(object, "is_crowded", json_boolean(row->is_crowded));
    set(object, "quantize_s", file ? NULL : json_real(row->quantize_s));
    set(object, "is_front", json_boolean(row->is_front));
    return object;
}

static void show_json(const struct work *work, const struct sweep *sweep, bool complete)
{
    const struct quality_plan *quality = &work->plan.quality;
    const char *model = stile_model_info(quality->model)->path, *imatrix = work->plan.imatrix;
    json_t *object = json_object(), *rows = json_array();
    set(object, "model", json_text(model, strlen(model)));
    set(object, "imatrix", imatrix ? json_text(imatrix, strlen(imatrix)) : NULL);
    quality_set_text(object, work->text, quality->windows);
    set(object, "n_windows", json_integer((json_int_t)quality->windows->n));
    set(object, "n_scored", json_integer((json_int_t)windows_scored(quality->windows, quality->windows->n)));
    set(object, "cpu", json_text(work->plan.host->machine.cpu, strlen(work->plan.host->machine.cpu)));
    set(object, "complete", json_boolean(complete));
    for (size_t i = 0; i < sweep->n_rows; i++)
        if (sweep->rows[i].done || *sweep->rows[i].failure)
            json_array_append_new(rows, row_json(work, &sweep->rows[i]));
    set(object, "rows", rows);
    json_show(object);
}

static int draw(const struct work *work, const struct sweep *sweep)
{
    struct stile_error error;
    char title[160], subtitle[300];
    const struct quality_plan *quality = &work->plan.quality;
    snprintf(title, sizeof title, "What formats of %s cost", base_name(stile_model_info(quality->model)->path));
    snprintf(subtitle, sizeof subtitle, "%zu tokens of %s, windows of %u",
             windows_scored(quality->windows, quality->windows->n), base_name(work->text), quality->windows->n_ctx);
    char *text = sweep_svg(sweep, title, subtitle);
    if (!text) return cli_fail("out of memory");
    int failed = beside_replace(work->options->svg, text, strlen(text), &error);
    free(text);
    return failed ? cli_error(&error) : EXIT_OK;
}

/* Whatever was measured is shown. */
static int report(const struct work *work, struct sweep *sweep, int status)
{
    bool any = false;
    for (size_t i = 0; i < sweep->n_rows; i++)
        any = any || sweep->rows[i].done;
    if (!any) return status;
    for (size_t i = 0; i < sweep->n_rows; i++)
        if (*sweep->rows[i].failure && status != EXIT_INTERRUPTED)
            status = cli_fail("%s: %s", name_of(work, &sweep->rows[i]), sweep->rows[i].failure);
    sweep_sort(sweep);
    if (work->options->json)
        show_json(work, sweep, status == EXIT_OK);
    else
        show(work, sweep);
    int drawn = work->options->svg ? draw(work, sweep) : EXIT_OK;
    return drawn != EXIT_OK ? drawn : status;
}

int quality_sweep(const struct options *options, const struct quality_plan *quality, const char *text)
{
    struct stile_error error;
    struct sweep sweep;
    struct host *host = malloc(sizeof *host);
    struct work *work = calloc(1, sizeof *work);
    int status = host && work ? EXIT_OK : cli_fail("out of memory");
    if (status == EXIT_OK) {
        host_describe(host);
        work->options = options;
        work->text = text;
        work->begin_ns = clock_ns();
        work->plan = (struct sweep_plan){
            .quality = *quality,
            .imatrix = options->imatrix,
            .entries = work->entries,
            .host = host,
            .on_progress = isatty(STDERR_FILENO) ? on_progress : NULL,
            .on_warning = on_warning,
            .user = work,
        };
        status = read_list(work);
    }
    if (status == EXIT_OK) status = make_folder(work);
    if (status == EXIT_OK) {
        int failed = sweep_run(&sweep, &work->plan, &error);
        clear_line(work);
        remove_folder(work);
        if (failed) status = cli_error(&error);
        status = report(work, &sweep, status);
        sweep_free(&sweep);
    }
    if (work) free(work->list);
    free(work);
    free(host);
    return status;
}
