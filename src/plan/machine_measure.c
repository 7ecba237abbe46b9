/* machine_measure.c - how fast memory can be read, written and copied, by doing it. */
#include "plan/machine_measure.h"

#include "base/clock.h"
#include "base/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define AREA_BYTES_MIN ((uint64_t)256 << 20)
#define AREA_BYTES_MAX ((uint64_t)4 << 30)

enum {
    LARGE_PAGE_BYTES = 2 << 20,
    STEP_BYTES = 128,
    PREFETCH_BYTES = 4096, /* ahead; measured to be as fast as hardware prefetching or faster */
};

size_t machine_area_bytes(const struct machine *machine, int n_threads)
{
    const struct stile_caches *caches = &machine->caches;
    uint64_t n_caches = (uint64_t)n_threads < caches->l3_count ? (uint64_t)n_threads : caches->l3_count;
    uint64_t cached_bytes = n_caches * caches->l3_bytes, l2_bytes = (uint64_t)n_threads * caches->l2_bytes;
    if (cached_bytes < l2_bytes) cached_bytes = l2_bytes;
    uint64_t size_bytes = 4 * cached_bytes;
    if (size_bytes < AREA_BYTES_MIN) size_bytes = AREA_BYTES_MIN;
    if (size_bytes > AREA_BYTES_MAX) size_bytes = AREA_BYTES_MAX;
    if (size_bytes > machine->memory.available_bytes / 8) size_bytes = machine->memory.available_bytes / 8;
    /* otherwise it would be the caches that are measured */
    return size_bytes >= 2 * cached_bytes ? (size_t)size_bytes : 0;
}

double machine_sample(double (*pass)(void *subject, const struct stile_measurement *m, uint64_t time_ns), void *subject,
                      const struct stile_measurement *m, uint64_t time_ns, bool *disturbed)
{
    enum { ATTEMPTS = 3 };
    static const double own_share = 0.95; /* of the processors: waiting threads spin, so it should be all */
    double best = 0;
    for (int i = 0; i < ATTEMPTS; i++) {
        uint64_t begin_ns = clock_ns(), begin_cpu_ns = clock_cpu_ns();
        double value = pass(subject, m, time_ns);
        double spent_ns = (double)(clock_ns() - begin_ns), cpu_ns = (double)(clock_cpu_ns() - begin_cpu_ns);
        if (value > best) best = value;
        *disturbed = cpu_ns < own_share * spent_ns * m->n_threads;
        if (!*disturbed) return value;
    }
    return best;
}

/* ---- passes --------------------------------------------------------------------------------- */

struct pass {
    const struct machine_area *area;
    struct {
        _Alignas(64) uint64_t value; /* keeps the reads from being optimised away */
    } sinks[THREADS_MAX];
};

typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

/* A thread's part of the first size_bytes. */
static char *own_part(const struct pass *pass, size_t size_bytes, int i, int n, size_t *n_bytes)
{
    size_t first, last;
    threads_split(size_bytes, STEP_BYTES, i, n, &first, &last);
    *n_bytes = last - first;
    return pass->area->data + first;
}

/* Each thread touches its own part first, so that the pages lie in the memory next to it. */
static void touch(void *argument, int i, int n)
{
    struct pass *pass = argument;
    size_t n_bytes;
    char *begin = own_part(pass, pass->area->size_bytes, i, n, &n_bytes);
    memset(begin, i + 1, n_bytes);
}

static void read_once(void *argument, int i, int n)
{
    struct pass *pass = argument;
    size_t n_bytes;
    lanes a = {0}, b = {0};
    const char *begin = own_part(pass, pass->area->size_bytes, i, n, &n_bytes);
    for (const char *p = begin; p < begin + n_bytes; p += STEP_BYTES) {
        __builtin_prefetch(p + PREFETCH_BYTES);
        __builtin_prefetch(p + PREFETCH_BYTES + 64);
        a ^= *(const lanes *)p;
        b ^= *(const lanes *)(p + 64);
    }
    a ^= b;
    for (int k = 0; k < 8; k++)
        pass->sinks[i].value += a[k];
}

static void copy_once(void *argument, int i, int n)
{
    struct pass *pass = argument;
    size_t half_bytes = pass->area->size_bytes / 2, n_bytes;
    char *begin = own_part(pass, half_bytes, i, n, &n_bytes);
    memcpy(begin + half_bytes, begin, n_bytes);
}

double machine_area_pass(const struct machine_area *area, struct threads *threads, enum stile_quantity quantity,
                         uint64_t time_ns)
{
    struct pass pass = {.area = area};
    bool copy = quantity == STILE_MEMORY_COPY;
    void (*once)(void *, int, int) = copy ? copy_once : quantity == STILE_MEMORY_WRITE ? touch : read_once;
    size_t pass_bytes = copy ? area->size_bytes / 2 : area->size_bytes;
    uint64_t begin_ns = clock_ns(), spent_ns = 0, n = 0;
    for (; n == 0 || spent_ns + spent_ns / n / 2 < time_ns; n++) {
        threads_run(threads, once, &pass);
        spent_ns = clock_ns() - begin_ns;
        if (spent_ns == 0) spent_ns = 1;
    }
    return (double)n * (double)pass_bytes * 1e9 / (double)spent_ns;
}

/* ---- areas ---------------------------------------------------------------------------------- */

bool machine_area_create(struct machine_area *area, struct threads *threads, size_t size_bytes, bool large_pages)
{
    struct pass pass = {.area = area};
    memset(area, 0, sizeof *area);
    size_bytes = size_bytes / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    if (size_bytes == 0 || size_bytes > SIZE_MAX - LARGE_PAGE_BYTES) return false;
    size_t mapped_bytes = size_bytes + LARGE_PAGE_BYTES;
    void *mapped = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return false;
    area->mapped = mapped;
    area->mapped_bytes = mapped_bytes;
    area->data = (char *)(((uintptr_t)mapped + LARGE_PAGE_BYTES - 1) & ~(uintptr_t)(LARGE_PAGE_BYTES - 1));
    area->size_bytes = size_bytes;
#ifdef MADV_HUGEPAGE
    madvise(area->data, size_bytes, large_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    threads_run(threads, touch, &pass);
    return true;
}

void machine_area_free(struct machine_area *area)
{
    if (area->mapped) munmap(area->mapped, area->mapped_bytes);
    memset(area, 0, sizeof *area);
}

/* Adds up the "AnonHugePages:" of the mappings ("BEGIN-END permissions ...") that lie in the area: the kernel may have
 * joined it with its neighbours or split it. */
double machine_area_large(const struct machine_area *area, const char *smaps)
{
    char line[512];
    uintptr_t area_begin = (uintptr_t)area->data, area_end = area_begin + area->size_bytes;
    double large_bytes = 0;
    bool inside = false, any = false;
    FILE *file = fopen(smaps, "r");
    if (!file) return -1;
    while (fgets(line, sizeof line, file)) {
        uint64_t begin, end, kib;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
            inside = begin < area_end && end > area_begin;
        } else if (inside && sscanf(line, "AnonHugePages: %" SCNu64, &kib) == 1) {
            large_bytes += 1024.0 * (double)kib;
            any = true;
        }
    }
    fclose(file);
    if (!any || area->size_bytes == 0) return -1;
    double share = large_bytes / (double)area->size_bytes;
    return share < 1 ? share : 1;
}

double machine_measure_read(struct threads *threads, size_t size_bytes, uint64_t time_ns)
{
    struct machine_area area;
    double best = 0;
    if (!machine_area_create(&area, threads, size_bytes, true)) return 0;
    uint64_t begin_ns = clock_ns();
    for (int i = 0; i < 2 || clock_ns() - begin_ns < time_ns; i++) {
        double rate = machine_area_pass(&area, threads, STILE_MEMORY_READ, 0);
        if (rate > best) best = rate;
    }
    machine_area_free(&area);
    return best;
}
