/* kernel_check - every kernel of every table this processor can run, compared with the scalar table, bit for bit.
 *
 *     kernel_check [--quick] [ISA...]                 the comparison; prints one line per table, exit code 1 on a
 * failure kernel_check --bench [--json] [-t THREADS] [-k SIZE] [FORMAT|ops...]    times every slot of every table
 */
#include "kernel_check.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

bool check_quick;
static size_t n_passed, n_failed;

void check_result(bool ok, const char *format, ...)
{
    enum { MAX_PRINTED = 40 };
    if (ok) {
        n_passed++;
        return;
    }
    if (n_failed++ >= MAX_PRINTED) return;
    va_list args;
    va_start(args, format);
    printf("FAILED: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

size_t check_failures(void)
{
    return n_failed;
}

size_t check_passes(void)
{
    return n_passed;
}

uint64_t check_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545f4914f6cdd1du) >> 8;
}

size_t check_below(size_t n)
{
    return (size_t)(check_random() % n);
}

float check_uniform(float low, float high)
{
    return low + (high - low) * ((float)(check_random() & 0xffffffu) * 0x1p-24f);
}

/* The sum of three uniform numbers. */
float check_normal(void)
{
    uint64_t bits = check_random();
    uint32_t sum = (uint32_t)(bits & 0xffffu) + (uint32_t)(bits >> 16 & 0xffffu) + (uint32_t)(bits >> 32 & 0xffffu);
    return ((float)sum - 98302.5f) * 0x1p-15f;
}

bool check_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool both_nan = a[i] != a[i] && b[i] != b[i];
        if (f32_bits(a[i]) != f32_bits(b[i]) && !both_nan) return false;
    }
    return true;
}

static size_t whole_pages(size_t size_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size_bytes + page - 1) / page * page;
}

void *check_guarded(size_t size_bytes)
{
    size_t used = whole_pages(size_bytes), page = whole_pages(1);
    uint8_t *p = mmap(NULL, used + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + used, page, PROT_NONE) != 0) abort();
    return p + used - size_bytes;
}

void check_guarded_free(void *p, size_t size_bytes)
{
    size_t used = whole_pages(size_bytes);
    munmap((uint8_t *)p + size_bytes - used, used + whole_pages(1));
}

static void check_table(const struct kernel_table *truth, const struct kernel_table *table)
{
    size_t passed = n_passed, failed = n_failed;
    uint64_t start = clock_ns();
    if (table == truth) {
        check_truth(truth);
        kernel_check_ops(truth, truth);
        check_attentions(truth, truth);
    } else {
        check_quantize(truth, table);
        check_matmul(truth, table);
        kernel_check_ops(truth, table);
        check_attentions(truth, table);
    }
    printf("%-7s %-15s %7zu passed %5zu failed  %.1f s\n", table->isa,
           table == truth ? "against doubles" : "against scalar", n_passed - passed, n_failed - failed,
           (double)(clock_ns() - start) * 1e-9);
    fflush(stdout);
}

static int check_all(char **names)
{
    const struct kernel_table *truth = kernel_select("scalar");
    for (const char *const *name = kernel_names(); *name; name++) {
        bool wanted = !names[0];
        for (char **n = names; *n; n++)
            wanted = wanted || strcmp(*n, *name) == 0;
        if (wanted) check_table(truth, kernel_select(*name));
    }
    printf("%zu passed, %zu failed\n", n_passed, n_failed);
    return n_failed || !n_passed ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: kernel_check [--quick] [ISA...]\n"
                    "       kernel_check --bench [--json] [-t THREADS] [-k SIZE] [FORMAT|ops...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct check_bench bench = {NULL, 2048, 1, false};
    bool timing = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            check_quick = true;
        else if (strcmp(argv[i], "--bench") == 0)
            timing = true;
        else if (strcmp(argv[i], "--json") == 0)
            bench.json = true;
        else if (strcmp(argv[i], "-t") == 0 && i + 1 < argc)
            bench.n_threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "-k") == 0 && i + 1 < argc)
            bench.k = strtoul(argv[++i], NULL, 10);
        else
            return usage();
    }
    bench.formats = (const char *const *)(argv + i);
    return timing ? check_bench_run(&bench) : check_all(argv + i);
}
