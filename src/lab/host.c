#include "lab/host.h"
#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first line of a small file, without its end; "" where it cannot be read. */
static void read_line(const char *path, char *line, size_t capacity)
{
    *line = 0;
    FILE *file = fopen(path, "re");
    if (!file) return;
    if (!fgets(line, (int)capacity, file)) *line = 0;
    line[strcspn(line, "\n")] = 0;
    fclose(file);
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void probe_in_child(struct stile_machine *machine)
{
    int ends[2];
    if (pipe(ends) != 0) return;
    pid_t child = fork();
    if (child == 0) {
        struct stile_machine probed;
        bool done = stile_machine_describe(&probed, NULL) == STILE_OK &&
                    write(ends[1], &probed, sizeof probed) == (ssize_t)sizeof probed;
        _exit(done ? 0 : 1);
    }
    close(ends[1]);
    struct stile_machine probed;
    if (child > 0 && read(ends[0], &probed, sizeof probed) == (ssize_t)sizeof probed) *machine = probed;
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0) {
    }
}

void host_describe(struct host *host)
{
    struct utsname name;
    memset(host, 0, sizeof *host);
    if (stile_machine_known(&host->machine, NULL) != STILE_OK) memset(&host->machine, 0, sizeof host->machine);
    if (host->machine.read_bytes_per_s <= 0) probe_in_child(&host->machine);
    stile_probe_known(&host->probe);
    host->n_processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (uname(&name) == 0)
        snprintf(host->kernel, sizeof host->kernel, "%.60s %.60s %.60s", name.sysname, name.release, name.machine);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", host->governor, sizeof host->governor);
}

const char *host_isa(const struct host *host, const char *isa)
{
    return isa ? isa : host->machine.isa;
}

/* ---- counters ------------------------------------------------------------------------------- */

static void read_ticks(struct host_moment *moment)
{
    char line[256];
    double t[8] = {0}; /* user nice system idle iowait irq softirq steal */
    read_line("/proc/stat", line, sizeof line);
    int n = sscanf(line, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);
    for (int i = 0; i < n; i++)
        moment->ticks += t[i];
    moment->steal_ticks = t[7];
    moment->busy_ticks = moment->ticks - t[3] - t[4] - t[7];
}

static double mean_mhz(void)
{
    char line[512];
    double sum = 0, mhz;
    int n = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "cpu MHz : %lf", &mhz) == 1) sum += mhz, n++;
    fclose(file);
    return n ? sum / n : 0;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void host_look(struct host_moment *moment)
{
    struct rusage usage;
    char path[96], line[32];
    memset(moment, 0, sizeof *moment);
    moment->time_ns = clock_ns();
    read_ticks(moment);
    if (getrusage(RUSAGE_SELF, &usage) == 0) moment->own_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    moment->mhz = mean_mhz();
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < n; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/thermal_throttle/core_throttle_count", i);
        read_line(path, line, sizeof line);
        moment->n_throttled += strtoull(line, NULL, 10);
    }
}

void host_noise_between(const struct host_moment *begin, const struct host_moment *end, int n_processors,
                        uint32_t n_threads, struct host_noise *noise)
{
    double ticks = end->ticks - begin->ticks, wall_s = (double)(end->time_ns - begin->time_ns) / 1e9;
    memset(noise, 0, sizeof *noise);
    noise->mhz_begin = begin->mhz;
    noise->mhz_end = end->mhz;
    noise->n_throttled = end->n_throttled - begin->n_throttled;
    if (ticks <= 0 || wall_s <= 0) return;
    noise->steal_share = (end->steal_ticks - begin->steal_ticks) / ticks;
    double busy_s = (end->busy_ticks - begin->busy_ticks) / (double)sysconf(_SC_CLK_TCK);
    double others = (busy_s - (end->own_s - begin->own_s)) / wall_s;
    noise->others_processors = others > 0 ? others : 0;
    noise->crowded = others > 0.1 && others + n_threads > n_processors + 0.1;
}

uint64_t host_own_memory(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu", &kib) == 1) break;
    if (file) fclose(file);
    return kib * 1024;
}

uint64_t host_peak_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Pages of the open file that are in memory, -1 if that cannot be told. */
static long resident_pages(int fd, size_t size_bytes, size_t page_bytes)
{
    size_t n = (size_bytes + page_bytes - 1) / page_bytes;
    void *map = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return -1;
    unsigned char *pages = malloc(n);
    long n_resident = -1;
    if (pages && mincore(map, size_bytes, pages) == 0) {
        n_resident = 0;
        for (size_t i = 0; i < n; i++)
            n_resident += pages[i] & 1;
    }
    free(pages);
    munmap(map, size_bytes);
    return n_resident;
}

bool host_drop_file(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool dropped = false;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
        size_t size_bytes = (size_t)status.st_size;
        fdatasync(fd); /* pages that are not written yet cannot be dropped */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        long n = resident_pages(fd, size_bytes, page_bytes);
        dropped = n >= 0 && (double)n <= 0.01 * (double)(size_bytes / page_bytes + 1);
    }
    close(fd);
    return dropped;
}

static uint64_t fnv1a(uint64_t hash, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

void host_file_hash(const char *path, char *out, size_t capacity)
{
    enum { PART = 1 << 20, WHOLE_MAX = 128, PAGE = 4096, N_PAGES = 256 };
    struct stat status;
    uint64_t hash = 0xcbf29ce484222325u;
    unsigned char *bytes = malloc(PART);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = bytes && fd >= 0 && fstat(fd, &status) == 0;
    uint64_t size_bytes = ok ? (uint64_t)status.st_size : 0;
    bool whole = size_bytes <= (uint64_t)WHOLE_MAX * PART;
    if (!whole) hash = fnv1a(hash, (const unsigned char *)&size_bytes, sizeof size_bytes);
    int n_parts = whole ? (int)((size_bytes + PART - 1) / PART) : 1 + N_PAGES;
    for (int i = 0; ok && i < n_parts; i++) {
        bool page = !whole && i > 0;
        uint64_t at = page ? size_bytes / N_PAGES * (uint64_t)(i - 1) : (uint64_t)i * PART;
        ssize_t n = pread(fd, bytes, page ? PAGE : PART, (off_t)at);
        ok = n >= 0;
        if (ok) hash = fnv1a(hash, bytes, (size_t)n);
    }
    if (fd >= 0) close(fd);
    free(bytes);
    *out = 0;
    if (ok) snprintf(out, capacity, "fnv1a64%s:%016llx", whole ? "" : "-sampled", (unsigned long long)hash);
}
