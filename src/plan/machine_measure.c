/* machine_measure.c - how fast memory can be read, by reading it. */
#include "base/clock.h"
#include "base/threads.h"
#include "plan/machine.h"

#include <string.h>
#include <sys/mman.h>

enum {
    LARGE_PAGE_BYTES = 2 << 20,
    STEP_BYTES = 128,
    PREFETCH_BYTES = 4096, /* ahead; measured to be as fast as hardware prefetching or faster */
};

struct measurement {
    char *data;
    size_t size_bytes;
    struct {
        _Alignas(64) uint64_t value; /* keeps the reads from being optimised away */
    } sinks[THREADS_MAX];
};

typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

static void own_part(const struct measurement *m, int i, int n, char **begin, char **end)
{
    size_t first, last;
    threads_split(m->size_bytes, STEP_BYTES, i, n, &first, &last);
    *begin = m->data + first;
    *end = m->data + last;
}

/* Each thread touches its own part first, so that the pages lie in the memory next to it. */
static void touch(void *argument, int i, int n)
{
    char *begin, *end;
    own_part(argument, i, n, &begin, &end);
    memset(begin, i + 1, (size_t)(end - begin));
}

static void read_once(void *argument, int i, int n)
{
    struct measurement *m = argument;
    char *begin, *end;
    lanes a = {0}, b = {0};
    own_part(m, i, n, &begin, &end);
    for (const char *p = begin; p < end; p += STEP_BYTES) {
        __builtin_prefetch(p + PREFETCH_BYTES);
        __builtin_prefetch(p + PREFETCH_BYTES + 64);
        a ^= *(const lanes *)p;
        b ^= *(const lanes *)(p + 64);
    }
    a ^= b;
    for (int k = 0; k < 8; k++)
        m->sinks[i].value += a[k];
}

double machine_measure_read(struct threads *threads, size_t size_bytes, uint64_t time_ns)
{
    struct measurement m = {0};
    double best = 0;
    size_bytes = size_bytes / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    if (size_bytes == 0) return 0;
    size_t mapped_bytes = size_bytes + LARGE_PAGE_BYTES;
    void *mapped = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return 0;
    m.data = (char *)(((uintptr_t)mapped + LARGE_PAGE_BYTES - 1) & ~(uintptr_t)(LARGE_PAGE_BYTES - 1));
    m.size_bytes = size_bytes;
#ifdef MADV_HUGEPAGE
    madvise(m.data, size_bytes, MADV_HUGEPAGE);
#endif
    threads_run(threads, touch, &m);
    uint64_t start_ns = clock_ns();
    for (int pass = 0; pass < 2 || clock_ns() - start_ns < time_ns; pass++) {
        uint64_t before_ns = clock_ns();
        threads_run(threads, read_once, &m);
        double rate = (double)size_bytes * 1e9 / (double)(clock_ns() - before_ns + 1);
        if (rate > best) best = rate;
    }
    munmap(mapped, mapped_bytes);
    return best;
}
