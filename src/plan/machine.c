#include "plan/machine.h"

#include "base/paths.h"
#include "base/threads.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

enum {
    CACHE_BYTES_MAX = 64 * 1024,
    CACHE_ENTRIES_MAX = 64, /* a home folder may be shared by several machines */
    CACHE_VERSION = 1,
    MEASURE_BYTES_MIN = 256 << 20,
    MEASURE_BYTES_MAX = 1 << 30,
    MEASURE_NS = 200 * 1000 * 1000, /* and about 100 ms to get the memory */
};

/* ---- description ---- */

/* Copies a name: runs of blanks become one, other bytes than printable ASCII (a JSON key comes of it) are left out. */
static void copy_name(char *out, size_t capacity, const char *name)
{
    size_t n = 0;
    for (; *name && n + 1 < capacity; name++) {
        if (*name < ' ' || *name > '~') continue;
        if (*name == ' ' && (n == 0 || out[n - 1] == ' ')) continue;
        out[n++] = *name;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static void read_cpu_name(char *cpu, size_t capacity)
{
    char line[512];
    cpu[0] = '\0';
#ifdef __APPLE__
    size_t n = sizeof line;
    if (sysctlbyname("machdep.cpu.brand_string", line, &n, NULL, 0) == 0) copy_name(cpu, capacity, line);
#else
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && cpu[0] == '\0' && fgets(line, sizeof line, file)) {
        /* x86 says "model name"; some ARM boards have a line "Model" */
        const char *colon = strchr(line, ':');
        if (colon && (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model\t", 6) == 0))
            copy_name(cpu, capacity, colon + 1);
    }
    if (file) fclose(file);
#endif
    struct utsname system;
    if (cpu[0] == '\0') copy_name(cpu, capacity, uname(&system) == 0 ? system.machine : "unknown");
}

/* ---- cache: {"version": 1, "read_bytes_per_s": {KEY: NUMBER, ...}} ---- */

static bool is_plausible(double read_bytes_per_s)
{
    return read_bytes_per_s >= 1e6 && read_bytes_per_s <= 1e15;
}

/* The whole file, or NULL when it is missing, damaged or of another version. */
static json_t *load_cache(const char *path)
{
    json_t *root = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = malloc(CACHE_BYTES_MAX);
    size_t n = text ? fread(text, 1, CACHE_BYTES_MAX, file) : 0;
    if (n > 0 && n < CACHE_BYTES_MAX) root = json_loadb(text, n, 0, NULL);
    free(text);
    fclose(file);
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

/* Writes all bytes and closes the file; 0, or errno. */
static int write_and_close(int file, const char *text)
{
    size_t n = strlen(text), at = 0;
    int failed = 0;
    while (at < n && !failed) {
        ssize_t written = write(file, text + at, n - at);
        if (written >= 0)
            at += (size_t)written;
        else if (errno != EINTR)
            failed = errno;
    }
    if (!failed && fsync(file) != 0) failed = errno;
    if (close(file) != 0 && !failed) failed = errno;
    return failed;
}

/* The old file stays until the new one is whole. */
static int replace_file(const char *path, const char *text, struct stile_error *error)
{
    char folder[PATH_MAX], beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    if (!slash || slash == path || n < 0 || (size_t)n >= sizeof beside)
        return error_set(error, STILE_ERROR_ARGUMENT, "%s: not the path of a file in a folder", path);
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    int code = path_make_folder(folder, error);
    if (code != STILE_OK) return code;
    int file = mkstemp(beside);
    if (file < 0) return error_set(error, STILE_ERROR_IO, "%s: cannot be made: %s", beside, strerror(errno));
    int failed = write_and_close(file, text);
    if (!failed && rename(beside, path) != 0) failed = errno;
    if (!failed) return STILE_OK;
    unlink(beside);
    return error_set(error, STILE_ERROR_IO, "%s: cannot be written: %s", path, strerror(failed));
}

int machine_cache_store(const char *path, const char *key, double read_bytes_per_s, struct stile_error *error)
{
    json_t *root = load_cache(path);
    json_t *rates = json_incref(json_object_get(root, "read_bytes_per_s"));
    if (!rates || json_object_size(rates) >= CACHE_ENTRIES_MAX) {
        json_decref(rates);
        rates = json_object();
    }
    json_object_set_new(rates, key, json_real(read_bytes_per_s));
    json_decref(root);
    root = json_pack("{s:i, s:o}", "version", (int)CACHE_VERSION, "read_bytes_per_s", rates);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    if (!text) return error_memory(error, CACHE_BYTES_MAX, "the description of the machine");
    int code = replace_file(path, text, error);
    free(text);
    return code;
}

/* ---- the whole ---- */

/* Last-level cache of the first processor, in bytes; 0 when unknown. */
static size_t last_cache_bytes(void)
{
    size_t largest = 0;
    for (int i = 0; i < 8; i++) {
        char path[80], unit = 0;
        size_t size = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "r");
        if (!file) break;
        if (fscanf(file, "%zu%c", &size, &unit) == 2) size *= unit == 'M' ? 1 << 20 : unit == 'K' ? 1 << 10 : 1;
        if (size > largest) largest = size;
        fclose(file);
    }
    return largest;
}

static int measure_read(struct machine *machine, struct stile_error *error)
{
    size_t cache_bytes = last_cache_bytes(), size_bytes = 4 * cache_bytes;
    if (size_bytes < MEASURE_BYTES_MIN) size_bytes = MEASURE_BYTES_MIN;
    if (size_bytes > MEASURE_BYTES_MAX) size_bytes = MEASURE_BYTES_MAX;
    if (size_bytes > machine->memory.available_bytes / 8) size_bytes = machine->memory.available_bytes / 8;
    if (size_bytes < 2 * cache_bytes) return STILE_OK; /* it would be the cache that is measured */
    struct threads *threads;
    int code = threads_create(&threads, machine->n_threads, error);
    if (code != STILE_OK) return code;
    machine->read_bytes_per_s = machine_measure_read(threads, size_bytes, MEASURE_NS);
    threads_free(threads);
    return STILE_OK;
}

int machine_describe(struct machine *machine, int n_threads, bool measure, struct stile_error *error)
{
    char path[PATH_MAX], key[256];
    struct machine found = {.n_threads = n_threads};
    if (n_threads < 1 || n_threads > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%d threads: must be 1 to %d", n_threads, (int)THREADS_MAX);
    read_cpu_name(found.cpu, sizeof found.cpu);
    found.n_processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    machine_memory_read(&found.memory, "/proc", "/sys/fs/cgroup");
    snprintf(key, sizeof key, "%s, %d processors, %d threads, %llu MiB", found.cpu, found.n_processors, n_threads,
             (unsigned long long)(found.memory.total_bytes >> 20));

    bool has_cache = path_cache(path, sizeof path, "machine.json", NULL) == STILE_OK;
    if (has_cache) found.read_bytes_per_s = machine_cache_load(path, key);
    found.from_cache = found.read_bytes_per_s > 0;
    if (measure && !found.from_cache) {
        int code = measure_read(&found, error);
        if (code != STILE_OK) return code;
        if (has_cache && found.read_bytes_per_s > 0) machine_cache_store(path, key, found.read_bytes_per_s, NULL);
    }
    *machine = found;
    return STILE_OK;
}
