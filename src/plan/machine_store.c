/* machine_store.c - what was measured, as JSON and in the cache folder:
 *
 *   {"version": 1, "read_bytes_per_s": {KEY: NUMBER, ...}, "probes": {KEY: {"version": 1, ...}, ...}}
 *
 * Whatever stands in that file may be damaged or made up: what does not make sense is as good as not there.
 */
#include "base/json_file.h"
#include "base/paths.h"
#include "base/threads.h"
#include "plan/machine.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_BYTES_MAX = 2 << 20,
    CACHE_ENTRIES_MAX = 32, /* a home folder may be shared by several machines */
    CACHE_VERSION = 1,
    PROBE_VERSION = 1, /* another one is measured again */
};

/* In the units of quantities: nothing is so slow or so fast. */
static const double sample_min = 1e-3, sample_max = 1e18;

/* How a quantity is written: its name, its unit, what n_threads and size_bytes are called (NULL: meaningless). */
static const struct {
    const char *name, *unit, *threads, *size;
} names[STILE_N_QUANTITIES] = {
    [STILE_MEMORY_READ] = {"memory_read", "bytes_per_s", "threads", "page_bytes"},
    [STILE_MEMORY_WRITE] = {"memory_write", "bytes_per_s", "threads", "page_bytes"},
    [STILE_MEMORY_COPY] = {"memory_copy", "bytes_per_s", "threads", "page_bytes"},
    [STILE_LATENCY] = {"latency", "ns", NULL, "working_set_bytes"},
    [STILE_MATMUL] = {"matmul", "macs_per_s", "threads", NULL},
    [STILE_MATMUL_NARROW] = {"matmul_narrow", "macs_per_s", "threads", NULL},
    [STILE_MATMUL_FEW] = {"matmul_few", "macs_per_s", "threads", NULL},
    [STILE_MATMUL_SOME] = {"matmul_some", "macs_per_s", "threads", "matrix_bytes"},
    [STILE_MATVEC] = {"matvec", "bytes_per_s", "threads", "matrix_bytes"},
    [STILE_MATVEC_CACHED] = {"matvec_cached", "bytes_per_s", "threads", NULL},
    [STILE_ATTENTION] = {"attention", "macs_per_s", "threads", NULL},
    [STILE_ATTENTION_TOKEN] = {"attention_token", "macs_per_s", "threads", NULL},
    [STILE_ATTENTION_NARROW] = {"attention_narrow", "macs_per_s", "threads", NULL},
    [STILE_ATTENTION_TOKEN_NARROW] = {"attention_token_narrow", "macs_per_s", "threads", NULL},
    [STILE_ELEMENTS] = {"elements", "elements_per_s", "threads", NULL},
    [STILE_DISK_SEQUENTIAL] = {"disk_sequential", "bytes_per_s", "in_flight", "block_bytes"},
    [STILE_DISK_RANDOM] = {"disk_random", "bytes_per_s", "in_flight", "block_bytes"},
    [STILE_DISK_BUFFERED] = {"disk_buffered", "bytes_per_s", "in_flight", "block_bytes"},
    [STILE_DISK_STREAMED] = {"disk_streamed", "bytes_per_s", "in_flight", "block_bytes"},
};

/* ---- a probe as JSON ------------------------------------------------------------------------ */

static json_t *measurement_json(const struct stile_measurement *m)
{
    char best[32], samples_name[32];
    const char *unit = names[m->quantity].unit;
    json_t *object = json_object(), *samples = json_array();
    for (uint32_t i = 0; i < m->n_samples; i++)
        json_array_append_new(samples, json_real(m->samples[i]));
    snprintf(best, sizeof best, "best_%s", unit);
    snprintf(samples_name, sizeof samples_name, "%s_samples", unit);
    json_object_set_new(object, "quantity", json_string(names[m->quantity].name));
    if (*m->format) json_object_set_new(object, "format", json_string(m->format));
    if (names[m->quantity].threads) json_object_set_new(object, names[m->quantity].threads, json_integer(m->n_threads));
    if (names[m->quantity].size)
        json_object_set_new(object, names[m->quantity].size, json_integer((json_int_t)m->size_bytes));
    json_object_set_new(object, unit, json_real(m->median));
    json_object_set_new(object, best, json_real(m->best));
    json_object_set_new(object, "spread", json_real(m->spread));
    json_object_set_new(object, samples_name, samples);
    return object;
}

static json_t *probe_json(const struct stile_probe *probe)
{
    json_t *measurements = json_array();
    for (uint32_t i = 0; i < probe->n; i++)
        json_array_append_new(measurements, measurement_json(&probe->measurements[i]));
    bool known = probe->large_pages_share >= 0;
    json_t *path = json_string(probe->disk_path); /* NULL when it is not UTF-8 */
    return json_pack("{s:i, s:I, s:f, s:s, s:s, s:o, s:o, s:s, s:s, s:o}", "version", (int)PROBE_VERSION, "unix_time_s",
                     (json_int_t)probe->time, "duration_s", probe->duration_s, "commit", probe->commit, "isa",
                     probe->isa, "large_pages_share", known ? json_real(probe->large_pages_share) : json_null(),
                     "disk_path", path ? path : json_null(), "disk_kind", probe->disk_kind, "disk_note",
                     probe->disk_note, "measurements", measurements);
}

char *stile_probe_json(const struct stile_probe *probe)
{
    json_t *object = probe_json(probe);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    return text;
}

/* ---- and back ------------------------------------------------------------------------------- */

/* A whole number in 0 .. max; false when there is none. */
static bool get_count(const json_t *object, const char *name, uint64_t max, uint64_t *n)
{
    const json_t *value = name ? json_object_get(object, name) : NULL;
    json_int_t found = json_integer_value(value);
    if (name && (!json_is_integer(value) || found < 0 || (uint64_t)found > max)) return false;
    *n = (uint64_t)found;
    return true;
}

static enum stile_quantity quantity_of(const json_t *object)
{
    enum stile_quantity quantity = 0;
    const char *name = json_string_value(json_object_get(object, "quantity"));
    while (quantity < STILE_N_QUANTITIES && (!name || strcmp(names[quantity].name, name) != 0))
        quantity++;
    return quantity;
}

static bool read_measurement(const json_t *object, struct stile_measurement *m)
{
    char samples_name[32];
    uint64_t n_threads, size_bytes;
    memset(m, 0, sizeof *m);
    m->quantity = quantity_of(object);
    if (m->quantity == STILE_N_QUANTITIES) return false;
    if (!get_count(object, names[m->quantity].threads, THREADS_MAX, &n_threads)) return false;
    if (!get_count(object, names[m->quantity].size, UINT64_C(1) << 50, &size_bytes)) return false;
    m->n_threads = names[m->quantity].threads ? (uint32_t)n_threads : 1;
    m->size_bytes = size_bytes;
    json_get_text(object, "format", m->format, sizeof m->format);
    snprintf(samples_name, sizeof samples_name, "%s_samples", names[m->quantity].unit);
    const json_t *samples = json_object_get(object, samples_name);
    size_t n = json_array_size(samples);
    if (n == 0 || n > STILE_PROBE_SAMPLES_MAX) return false;
    for (size_t i = 0; i < n; i++) {
        m->samples[i] = json_number_value(json_array_get(samples, i));
        if (!(m->samples[i] > sample_min && m->samples[i] < sample_max)) return false;
    }
    m->n_samples = (uint32_t)n;
    machine_summarize(m);
    return true;
}

static bool read_probe(const json_t *object, struct stile_probe *probe)
{
    uint64_t time;
    const json_t *measurements = json_object_get(object, "measurements");
    if (json_integer_value(json_object_get(object, "version")) != PROBE_VERSION) return false;
    if (!get_count(object, "unix_time_s", INT64_MAX / 2, &time) || time == 0) return false;
    if (json_array_size(measurements) > STILE_PROBE_MAX) return false;
    for (size_t i = 0; i < json_array_size(measurements); i++) {
        const json_t *measurement = json_array_get(measurements, i);
        bool newer =
            json_is_string(json_object_get(measurement, "quantity")) && quantity_of(measurement) == STILE_N_QUANTITIES;
        if (newer) continue; /* than this stile: it measures more */
        if (!read_measurement(measurement, &probe->measurements[probe->n++])) return false;
    }
    const json_t *share = json_object_get(object, "large_pages_share");
    double duration_s = json_number_value(json_object_get(object, "duration_s"));
    probe->duration_s = duration_s > 0 && duration_s < 1e9 ? duration_s : 0;
    probe->large_pages_share = json_is_number(share) ? json_number_value(share) : -1;
    if (!(probe->large_pages_share <= 1)) probe->large_pages_share = -1;
    json_get_text(object, "commit", probe->commit, sizeof probe->commit);
    json_get_text(object, "isa", probe->isa, sizeof probe->isa);
    json_get_text(object, "disk_path", probe->disk_path, sizeof probe->disk_path);
    json_get_text(object, "disk_kind", probe->disk_kind, sizeof probe->disk_kind);
    json_get_text(object, "disk_note", probe->disk_note, sizeof probe->disk_note);
    probe->time = (int64_t)time;
    return true;
}

/* ---- the file ------------------------------------------------------------------------------- */

static bool is_plausible(double read_bytes_per_s)
{
    return read_bytes_per_s >= 1e6 && read_bytes_per_s <= 1e15;
}

/* The whole file, or NULL when it is missing, damaged or of another version. */
static json_t *load_cache(const char *path)
{
    json_t *root = json_file_read(path, CACHE_BYTES_MAX, NULL);
    if (json_integer_value(json_object_get(root, "version")) == CACHE_VERSION &&
        json_is_object(json_object_get(root, "read_bytes_per_s")))
        return root;
    json_decref(root);
    return NULL;
}

double machine_cache_load(const char *path, const char *key)
{
    json_t *root = load_cache(path);
    double rate = json_number_value(json_object_get(json_object_get(root, "read_bytes_per_s"), key));
    json_decref(root);
    return is_plausible(rate) ? rate : 0;
}

void machine_cache_load_probe(const char *path, const char *key, struct stile_probe *probe)
{
    json_t *root = load_cache(path);
    memset(probe, 0, sizeof *probe);
    if (!read_probe(json_object_get(json_object_get(root, "probes"), key), probe)) memset(probe, 0, sizeof *probe);
    json_decref(root);
}

/* Sets root's object `name`, made new where it is missing or full of others, to have value under key. Takes the value. */
static void set_entry(json_t *root, const char *name, const char *key, json_t *value)
{
    json_t *entries = json_object_get(root, name);
    bool full = json_object_size(entries) >= CACHE_ENTRIES_MAX && !json_object_get(entries, key);
    if (!json_is_object(entries) || full) json_object_set_new(root, name, entries = json_object());
    json_object_set_new(entries, key, value);
}

int machine_cache_store_probe(const char *path, const char *key, double read_bytes_per_s,
                              const struct stile_probe *probe, struct stile_error *error)
{
    json_t *root = load_cache(path);
    if (!root) root = json_pack("{s:i, s:{}}", "version", (int)CACHE_VERSION, "read_bytes_per_s");
    if (is_plausible(read_bytes_per_s)) set_entry(root, "read_bytes_per_s", key, json_real(read_bytes_per_s));
    if (probe) set_entry(root, "probes", key, probe_json(probe));
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    if (!text) return error_memory(error, CACHE_BYTES_MAX, "the description of the machine");
    int code = path_replace_file(path, text, error);
    free(text);
    return code;
}

int machine_cache_store(const char *path, const char *key, double read_bytes_per_s, struct stile_error *error)
{
    return machine_cache_store_probe(path, key, read_bytes_per_s, NULL, error);
}

/* ---- a probe in a file of its own ------------------------------------------------------------- */

/* "machine" of what `stile probe --json` prints. */
static bool read_about(const json_t *about, struct machine *machine)
{
    uint64_t n_processors, n_threads;
    const json_t *caches = json_object_get(about, "cache_bytes");
    if (!get_count(about, "n_processors", 1 << 16, &n_processors) || n_processors == 0) return false;
    if (!get_count(about, "n_threads", THREADS_MAX, &n_threads) || n_threads == 0) return false;
    if (!get_count(about, "memory_bytes", UINT64_C(1) << 50, &machine->memory.total_bytes)) return false;
    get_count(caches, "l1", UINT64_C(1) << 40, &machine->caches.l1_bytes);
    get_count(caches, "l2", UINT64_C(1) << 40, &machine->caches.l2_bytes);
    get_count(caches, "l3", UINT64_C(1) << 40, &machine->caches.l3_bytes);
    machine->caches.l3_count = machine->caches.l3_bytes > 0;
    json_get_text(about, "cpu", machine->cpu, sizeof machine->cpu);
    json_get_text(about, "large_pages", machine->large_pages, sizeof machine->large_pages);
    machine->n_processors = (int)n_processors;
    machine->n_threads = (int)n_threads;
    machine->memory.available_bytes = machine->memory.total_bytes;
    machine->from_cache = true;
    return machine->memory.total_bytes > 0;
}

int machine_read_file(struct machine *machine, const char *path, struct stile_error *error)
{
    struct stile_error why = {.code = STILE_OK};
    json_t *root = json_file_read(path, CACHE_BYTES_MAX, &why);
    memset(machine, 0, sizeof *machine);
    if (!root) {
        const char *what = why.code == STILE_ERROR_MALFORMED ? ": no machine, as 'stile probe --json' prints it" : "";
        return error_set(error, (enum stile_code)why.code, "%.900s%s", why.message, what);
    }
    bool good = read_about(json_object_get(root, "machine"), machine) && read_probe(root, &machine->probe);
    bool complete = !json_is_false(json_object_get(root, "complete"));
    json_decref(root);
    if (!good)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: not a machine as this version's 'stile probe --json' prints it (version %d)", path,
                         (int)PROBE_VERSION);
    machine->read_bytes_per_s = machine_best_read(&machine->probe, machine->n_threads);
    if (!complete || !is_plausible(machine->read_bytes_per_s))
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: the probe is not complete: the read bandwidth of memory with %d threads is needed", path,
                         machine->n_threads);
    return STILE_OK;
}
