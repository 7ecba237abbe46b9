#include "plan/machine.h"

#include "base/paths.h"
#include "base/threads.h"
#include "plan/machine_measure.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

enum { MEASURE_NS = 200 * 1000 * 1000 /* and about 100 ms to get the memory */ };

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

/* The word in brackets of "always [madvise] never". */
static void read_large_pages(char *mode, size_t capacity)
{
    char line[128];
    mode[0] = '\0';
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (!file) return;
    const char *begin = fgets(line, sizeof line, file) ? strchr(line, '[') : NULL;
    if (begin) snprintf(mode, capacity, "%.*s", (int)strcspn(begin + 1, "]"), begin + 1);
    fclose(file);
}

/* ---- caches ---- */

static bool read_text(const char *folder, int index, const char *name, char *text, size_t capacity)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/index%d/%s", folder, index, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
    if (!file) return false;
    bool ok = fgets(text, (int)capacity, file) != NULL;
    fclose(file);
    return ok;
}

/* How many processors a list like "0-3,64-67" names; at least 1. */
static int count_listed(const char *list)
{
    int n = 0, low, high, used;
    while (sscanf(list, "%d%n", &low, &used) == 1) {
        list += used;
        high = low;
        if (*list == '-' && sscanf(list + 1, "%d%n", &high, &used) == 1) list += 1 + used;
        if (low < 0 || high < low || high > 1 << 16) break;
        n += high - low + 1;
        if (*list++ != ',') break;
    }
    return n > 0 ? n : 1;
}

void machine_caches_read(struct stile_caches *caches, const char *cache, int n_processors)
{
    enum { INDEX_MAX = 16 };
    char text[256];
    memset(caches, 0, sizeof *caches);
    for (int i = 0; i < INDEX_MAX; i++) {
        unsigned long long size;
        char unit = 0;
        int level;
        if (!read_text(cache, i, "level", text, sizeof text) || sscanf(text, "%d", &level) != 1) continue;
        if (read_text(cache, i, "type", text, sizeof text) && strncmp(text, "Instruction", 11) == 0) continue;
        if (!read_text(cache, i, "size", text, sizeof text)) continue;
        if (text[0] == '-' || sscanf(text, "%llu%c", &size, &unit) < 1 || size > 1 << 30) continue;
        uint64_t size_bytes = size << (unit == 'M' ? 20 : unit == 'K' ? 10 : 0);
        if (level == 1) caches->l1_bytes = size_bytes;
        if (level == 2) caches->l2_bytes = size_bytes;
        if (level != 3) continue;
        caches->l3_bytes = size_bytes;
        int sharing = read_text(cache, i, "shared_cpu_list", text, sizeof text) ? count_listed(text) : n_processors;
        caches->l3_count = sharing < n_processors ? (uint32_t)((n_processors + sharing - 1) / sharing) : 1;
    }
}

/* ---- the whole ---- */

void machine_summarize(struct stile_measurement *m)
{
    double sorted[STILE_PROBE_SAMPLES_MAX];
    uint32_t n = m->n_samples;
    m->median = m->best = m->spread = 0;
    if (n == 0 || n > STILE_PROBE_SAMPLES_MAX) return;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > m->samples[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = m->samples[i];
    }
    m->median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    m->best = m->quantity == STILE_LATENCY ? sorted[0] : sorted[n - 1];
    if (m->median > 0) m->spread = (sorted[n - 1 - n / 4] - sorted[n / 4]) / 2 / m->median;
}

const struct stile_measurement *stile_probe_find(const struct stile_probe *probe, enum stile_quantity quantity,
                                                 uint32_t n_threads, uint64_t size_bytes, const char *format)
{
    for (uint32_t i = 0; i < probe->n; i++) {
        const struct stile_measurement *m = &probe->measurements[i];
        if (m->quantity == quantity && m->n_threads == n_threads && m->size_bytes == size_bytes &&
            strcmp(m->format, format ? format : "") == 0)
            return m;
    }
    return NULL;
}

static int measure_read(struct machine *machine, struct stile_error *error)
{
    size_t size_bytes = machine_area_bytes(machine, machine->n_threads);
    struct threads *threads;
    if (size_bytes == 0) return STILE_OK;
    int code = threads_create(&threads, machine->n_threads, error);
    if (code != STILE_OK) return code;
    machine->read_bytes_per_s = machine_measure_read(threads, size_bytes, MEASURE_NS);
    threads_free(threads);
    return STILE_OK;
}

static void make_key(const struct machine *machine, char *key, size_t capacity)
{
    snprintf(key, capacity, "%s, %d processors, %d threads, %llu MiB", machine->cpu, machine->n_processors,
             machine->n_threads, (unsigned long long)(machine->memory.physical_bytes >> 20));
}

int machine_describe(struct machine *machine, int n_threads, bool measure, struct stile_error *error)
{
    char path[PATH_MAX], key[256];
    if (n_threads < 1 || n_threads > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%d threads: must be 1 to %d", n_threads, (int)THREADS_MAX);
    struct machine found = {.n_threads = n_threads};
    read_cpu_name(found.cpu, sizeof found.cpu);
    found.n_processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    machine_memory_read(&found.memory, "/proc", "/sys/fs/cgroup");
    machine_caches_read(&found.caches, "/sys/devices/system/cpu/cpu0/cache", found.n_processors);
    read_large_pages(found.large_pages, sizeof found.large_pages);
    make_key(&found, key, sizeof key);

    bool has_cache = path_cache(path, sizeof path, "machine.json", NULL) == STILE_OK;
    if (has_cache) {
        found.read_bytes_per_s = machine_cache_load(path, key);
        machine_cache_load_probe(path, key, &found.probe);
    }
    found.from_cache = found.read_bytes_per_s > 0;
    if (measure && !found.from_cache) {
        int code = measure_read(&found, error);
        if (code != STILE_OK) return code;
        if (has_cache && found.read_bytes_per_s > 0) machine_cache_store(path, key, found.read_bytes_per_s, NULL);
    }
    *machine = found;
    return STILE_OK;
}

double machine_best_read(const struct stile_probe *probe, int n_threads)
{
    double best = 0;
    for (uint32_t i = 0; i < probe->n; i++) {
        const struct stile_measurement *m = &probe->measurements[i];
        if (m->quantity == STILE_MEMORY_READ && m->n_threads == (uint32_t)n_threads && m->best > best) best = m->best;
    }
    return best;
}

int machine_keep_probe(const struct machine *machine, const struct stile_probe *probe, struct stile_error *error)
{
    char path[PATH_MAX], key[256];
    int code = path_cache(path, sizeof path, "machine.json", error);
    if (code != STILE_OK) return code;
    make_key(machine, key, sizeof key);
    return machine_cache_store_probe(path, key, machine_best_read(probe, machine->n_threads), probe, error);
}
