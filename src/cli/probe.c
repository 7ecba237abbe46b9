/* probe.c - `stile probe`: measures the machine, or shows what was measured. */
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TIME_S = 15, THOROUGH_S = 90 };

/* ---- tables --------------------------------------------------------------------------------- */

enum { ROWS_MAX = 40, COLUMNS_MAX = 8, CELL = 24, FIRST_WIDTH = 18, WIDTH = 13 };

/* The first column says what the row is. */
struct grid {
    size_t n_rows, n_columns;
    char heads[COLUMNS_MAX][CELL];
    char rows[ROWS_MAX][CELL];
    char cells[ROWS_MAX][COLUMNS_MAX][CELL];
};

/* The place of a label in a list of n, added where it is new; SIZE_MAX when the list is full. */
static size_t place(char labels[][CELL], size_t *n, size_t most, const char *label)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(labels[i], label) == 0) return i;
    if (*n == most) return SIZE_MAX;
    snprintf(labels[*n], CELL, "%s", label);
    return (*n)++;
}

static void put(struct grid *grid, const char *row, const char *column, const char *cell)
{
    size_t r = place(grid->rows, &grid->n_rows, ROWS_MAX, row);
    size_t c = place(grid->heads, &grid->n_columns, COLUMNS_MAX, column);
    if (r != SIZE_MAX && c != SIZE_MAX) snprintf(grid->cells[r][c], CELL, "%s", cell);
}

static void print_right(const char *text, int width)
{
    for (const char *c = text; *c; c++)
        width -= (*c & 0xc0) != 0x80; /* characters, not bytes */
    printf("%*s%s", width > 0 ? width : 0, "", text);
}

static void print_grid(const struct grid *grid, const char *title)
{
    if (grid->n_rows == 0) return;
    printf("\n%-*s", FIRST_WIDTH, title);
    for (size_t c = 0; c < grid->n_columns; c++)
        print_right(grid->heads[c], WIDTH);
    putchar('\n');
    for (size_t r = 0; r < grid->n_rows; r++) {
        printf("%-*s", FIRST_WIDTH, grid->rows[r]);
        for (size_t c = 0; c < grid->n_columns; c++)
            print_right(*grid->cells[r][c] ? grid->cells[r][c] : "-", WIDTH);
        putchar('\n');
    }
}

/* ---- what stands where ---------------------------------------------------------------------- */

enum table { MEMORY, LATENCY, KERNELS, WEIGHTS, ATTENTION, DISK, N_TABLES };

static const struct {
    enum table table;
    double unit;
    const char *name;
} quantities[STILE_N_QUANTITIES] = {
    [STILE_MEMORY_READ] = {MEMORY, 1e9, "read"},
    [STILE_MEMORY_WRITE] = {MEMORY, 1e9, "write"},
    [STILE_MEMORY_COPY] = {MEMORY, 1e9, "copy"},
    [STILE_LATENCY] = {LATENCY, 1, "ns"},
    [STILE_MATMUL] = {KERNELS, 1e9, ""},
    [STILE_MATMUL_NARROW] = {KERNELS, 1e9, "short rows"},
    [STILE_MATMUL_FEW] = {KERNELS, 1e9, "8 tokens"},
    [STILE_MATMUL_SOME] = {KERNELS, 1e9, "32"},
    [STILE_MATVEC] = {WEIGHTS, 1e9, "of "},
    [STILE_MATVEC_CACHED] = {WEIGHTS, 1e9, "from caches"},
    [STILE_ATTENTION] = {ATTENTION, 1e9, "many tokens"},
    [STILE_ATTENTION_TOKEN] = {ATTENTION, 1e9, "one token"},
    [STILE_ATTENTION_NARROW] = {ATTENTION, 1e9, "narrow heads"},
    [STILE_ATTENTION_TOKEN_NARROW] = {ATTENTION, 1e9, "narrow, one"},
    [STILE_ELEMENTS] = {ATTENTION, 1e9, "many tokens"},
    [STILE_DISK_SEQUENTIAL] = {DISK, 1e6, "sequential"},
    [STILE_DISK_RANDOM] = {DISK, 1e6, "random"},
    [STILE_DISK_BUFFERED] = {DISK, 1e6, "buffered"},
    [STILE_DISK_STREAMED] = {DISK, 1e6, "streamed"},
};

static const char *bytes_text(char out[CELL], uint64_t size_bytes)
{
    bool mebi = size_bytes >= 1 << 20;
    snprintf(out, CELL, "%llu %s", (unsigned long long)(size_bytes >> (mebi ? 20 : 10)), mebi ? "MiB" : "KiB");
    return out;
}

static const char *cache_name(const struct stile_caches *caches, uint64_t size_bytes)
{
    if (caches->l1_bytes == 0) return "";
    if (size_bytes <= caches->l1_bytes) return "L1";
    if (size_bytes <= caches->l2_bytes) return "L2";
    return size_bytes <= caches->l3_bytes ? "L3" : "memory";
}

/* As "43.2 ± 2%": the median, and half the distance between the quartiles. */
static void add(struct grid grids[N_TABLES], const struct stile_measurement *m, const struct stile_caches *caches)
{
    char row[2 * CELL], column[2 * CELL], value[CELL], size[CELL];
    enum table table = quantities[m->quantity].table;
    double median = m->median / quantities[m->quantity].unit;
    const char *name = quantities[m->quantity].name, *plural = m->n_threads > 1 ? "s" : "";
    snprintf(value, CELL, "%.*f \xc2\xb1%3.0f%%", median < 100 ? 1 : 0, median, 100 * m->spread);
    bytes_text(size, m->size_bytes);
    switch (table) {
    case MEMORY:
        snprintf(row, sizeof row, "%u thread%s", m->n_threads, plural);
        snprintf(column, sizeof column, "%s, %s", name, size);
        break;
    case LATENCY:
        snprintf(row, sizeof row, "%s", size);
        snprintf(column, sizeof column, "%s", name);
        put(&grids[table], row, "from", cache_name(caches, m->size_bytes));
        break;
    case KERNELS:
    case WEIGHTS:
    case ATTENTION:
        for (size_t i = 0; i == 0 || m->format[i - 1]; i++)
            row[i] = m->format[i] == 0 || (m->format[i] > ' ' && m->format[i] < 0x7f) ? m->format[i] : '?';
        if (!*row) snprintf(row, sizeof row, table == WEIGHTS ? "only read" : "norms, sums");
        if (*name)
            snprintf(column, sizeof column, "%s%s", name,
                     m->quantity == STILE_MATVEC        ? size
                     : m->quantity != STILE_MATMUL_SOME ? ""
                     : m->size_bytes > 0                ? ", memory"
                                                        : " tokens");
        else
            snprintf(column, sizeof column, "%u thread%s", m->n_threads, plural);
        break;
    default:
        if (m->quantity == STILE_DISK_STREAMED && strcmp(m->format, "cached") == 0) name = "by cache";
        snprintf(row, sizeof row, "%s, %s", name, size);
        snprintf(column, sizeof column, "%u at once", m->n_threads);
    }
    put(&grids[table], row, column, value);
}

/* ---- output --------------------------------------------------------------------------------- */

static void show_head(const struct stile_machine *machine, const struct stile_probe *probe)
{
    char size[32], when[32] = "", caches[96] = "";
    time_t seconds = (time_t)probe->time;
    struct tm calendar;
    const struct {
        const char *name;
        uint64_t size_bytes;
    } levels[] = {{"L1", machine->caches.l1_bytes}, {"L2", machine->caches.l2_bytes}, {"L3", machine->caches.l3_bytes}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        char text[CELL];
        size_t n = strlen(caches);
        if (levels[i].size_bytes == 0) continue;
        snprintf(caches + n, sizeof caches - n, ", %s %s", levels[i].name, bytes_text(text, levels[i].size_bytes));
    }
    printf("%s\n%ld processors, %s of memory%s\n", machine->cpu, sysconf(_SC_NPROCESSORS_ONLN),
           size_text(size, machine->memory_bytes), caches);
    if (localtime_r(&seconds, &calendar)) strftime(when, sizeof when, "%Y-%m-%d %H:%M", &calendar);
    printf("measured %s in %.0f s; medians, and half the distance between the quartiles\n", when, probe->duration_s);
}

static void show(const struct stile_machine *machine, const struct stile_probe *probe)
{
    struct grid *grids = calloc(N_TABLES, sizeof *grids);
    if (!grids) return;
    show_head(machine, probe);
    for (uint32_t i = 0; i < probe->n; i++)
        add(grids, &probe->measurements[i], &machine->caches);
    print_grid(&grids[MEMORY], "memory, GB/s");
    if (grids[MEMORY].n_rows == 0) puts("\nmemory: too little of it is free to measure in");
    if (probe->large_pages_share >= 0 && probe->large_pages_share < 0.99)
        printf("Of the pages of 2 MiB that were asked for the system gave %.0f%% (it is set to \"%s\").\n",
               100 * probe->large_pages_share, machine->large_pages);
    print_grid(&grids[LATENCY], "latency");
    print_grid(&grids[KERNELS], "kernels, GMAC/s");
    if (grids[KERNELS].n_rows > 0) {
        fputs("(of ", stdout);
        text_line(stdout, probe->isa);
        puts(", for a batch of 128 tokens)");
    }
    print_grid(&grids[WEIGHTS], "matrices, GB/s");
    print_grid(&grids[ATTENTION], "attention, GMAC/s");
    print_grid(&grids[DISK], "disk, MB/s");
    if (*probe->disk_path) {
        printf(grids[DISK].n_rows > 0 ? "(" : "\ndisk: ");
        text_line(stdout, probe->disk_path);
        fputs(", ", stdout);
        text_line(stdout, probe->disk_kind);
        if (*probe->disk_note) printf(": ");
        text_line(stdout, probe->disk_note);
        puts(grids[DISK].n_rows > 0 ? ")" : "");
    }
    free(grids);
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

static void show_json(const struct stile_machine *machine, const struct stile_probe *probe, bool complete)
{
    char *text = stile_probe_json(probe);
    json_t *object = text ? json_loads(text, 0, NULL) : NULL, *about = json_object(), *caches = json_object();
    stile_free(text);
    if (!object) object = json_object();
    set(caches, "l1", json_integer((json_int_t)machine->caches.l1_bytes));
    set(caches, "l2", json_integer((json_int_t)machine->caches.l2_bytes));
    set(caches, "l3", json_integer((json_int_t)machine->caches.l3_bytes));
    set(about, "cpu", json_text(machine->cpu, strlen(machine->cpu)));
    set(about, "n_processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    set(about, "n_threads", json_integer(machine->n_threads));
    set(about, "memory_bytes", json_integer((json_int_t)machine->memory_bytes));
    set(about, "cache_bytes", caches);
    set(about, "large_pages", json_string(machine->large_pages));
    set(object, "machine", about);
    set(object, "complete", json_boolean(complete));
    json_show(object);
}

/* ---- the command ---------------------------------------------------------------------------- */

static void on_progress(void *user, const char *what, uint32_t i, uint32_t n)
{
    (void)user;
    fprintf(stderr, "\r\033[K%3.0f%% %s", n ? 100.0 * i / n : 0.0, what);
}

int command_probe(const struct options *options)
{
    struct stile_error error;
    struct stile_machine machine;
    const struct stile_probe_options how = {
        .time_s = options->probe_s > 0 ? options->probe_s
                  : options->thorough  ? THOROUGH_S
                                       : TIME_S,
        .disk = options->disk,
        .cancel = interrupt_flag(),
        .on_progress = isatty(STDERR_FILENO) ? on_progress : NULL,
    };
    static const char *const with_cached[] = {"cached", "json", NULL};
    const struct option *other = options->cached ? options_other(options, FOR_PROBE, with_cached) : NULL;
    if (other) return cli_usage("probe: --cached measures nothing: it takes no --%s", other->name);
    if (options->disk && access(options->disk, R_OK) != 0)
        return cli_fail("--disk %s: %s", options->disk, strerror(errno));
    struct stile_probe *probe = calloc(1, sizeof *probe);
    if (!probe) return cli_fail("out of memory");
    int failed = 0;
    if (options->cached) {
        stile_probe_known(probe);
    } else {
        interrupt_install();
        failed = stile_probe_measure(probe, &how, &error);
        if (how.on_progress) fputs("\r\033[K", stderr);
    }
    bool stopped = failed && error.code == STILE_ERROR_CANCELLED;
    int status = failed ? cli_error(&error) : EXIT_OK;
    if (!failed && probe->time == 0) {
        status = cli_fail("nothing was measured on this machine yet: 'stile probe' does");
    } else if ((!failed || (stopped && probe->n > 0)) && stile_machine_known(&machine, &error) == STILE_OK) {
        if (options->json)
            show_json(&machine, probe, !failed);
        else
            show(&machine, probe);
    }
    free(probe);
    return status;
}
