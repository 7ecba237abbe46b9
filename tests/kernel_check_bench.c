/* kernel_check_bench.c - times quantize and matmul of every table: ns per row of weights, GB/s of weights read, GMAC/s,
 * and how many times faster than the scalar table. Decode reads a matrix too large for the caches. */
#include "kernel_check.h"

#include "base/clock.h"
#include "base/threads.h"
#include "kernel/act.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { PREFILL_TOKENS = 128, PREFILL_ROWS = 1024, DECODE_BYTES = 96 << 20, MAX_THREADS = 64 };

struct run {
    const struct kernel_table *table;
    struct kernel_matmul job;
    size_t n_rows;
    void *scratch[MAX_THREADS];
};

struct result {
    double row_ns, gb_per_s, gmac_per_s;
};

static void run_share(void *arg, int i, int n)
{
    struct run *run = arg;
    size_t begin, end;
    threads_split(run->n_rows, 16, i, n, &begin, &end);
    if (begin < end) run->table->matmul(&run->job, begin, end, run->scratch[i]);
}

/* The fastest of the runs that fit in about 0.2 s, at least 3. */
static struct result time_run(struct run *run, struct threads *threads)
{
    double best = 1e30;
    uint64_t start = clock_ns();
    for (int i = 0; i < 3 || clock_ns() - start < 200000000u; i++) {
        uint64_t before = clock_ns();
        threads_run(threads, run_share, run);
        double ns = (double)(clock_ns() - before);
        best = ns < best ? ns : best;
    }
    double n_rows = (double)run->n_rows, macs = n_rows * (double)run->job.k * (double)run->job.n_tokens;
    return (struct result){best / n_rows, n_rows * (double)run->job.row_bytes / best, macs / best};
}

static void print_result(const struct check_bench *options, const char *isa, const char *format, const char *what,
                         size_t n_tokens, struct result r, struct result scalar)
{
    static bool any;
    if (options->json)
        printf(
            "%s{\"isa\": \"%s\", \"format\": \"%s\", \"k\": %zu, \"threads\": %d, \"what\": \"%s\", \"tokens\": %zu, "
            "\"row_ns\": %.1f, \"gb_per_s\": %.2f, \"gmac_per_s\": %.2f, \"times_scalar\": %.2f}",
            any ? ",\n " : "[", isa, format, options->k, options->n_threads, what, n_tokens, r.row_ns, r.gb_per_s,
            r.gmac_per_s, scalar.row_ns / r.row_ns);
    else
        printf("%-7s %-8s %-8s %4zu tokens %12.1f ns/row %7.2f GB/s %8.2f GMAC/s %8.1f x scalar\n", isa, format, what,
               n_tokens, r.row_ns, r.gb_per_s, r.gmac_per_s, scalar.row_ns / r.row_ns);
    any = true;
    fflush(stdout);
}

static void bench_matmul(const struct check_bench *options, struct threads *threads, enum format format,
                         uint8_t *weights)
{
    static const struct {
        const char *what;
        size_t n_tokens, scalar_rows;
    } cases[] = {{"decode", 1, 512}, {"few", 4, 128}, {"prefill", PREFILL_TOKENS, 16}};
    const struct format_info *info = format_info(format);
    size_t k = options->k, row_bytes = k / info->block_elements * info->block_bytes,
           max_rows = DECODE_BYTES / row_bytes;
    enum kernel_act act = kernel_act_of(format);
    size_t act_bytes = kernel_act_bytes(act, k);
    uint8_t *acts = aligned_alloc(KERNEL_ALIGNMENT, act_bytes * PREFILL_TOKENS);
    float *x = calloc(k, sizeof *x), *out = calloc(4 * max_rows + PREFILL_TOKENS * PREFILL_ROWS, sizeof *out);
    struct run run = {.n_rows = 0};
    for (int i = 0; i < options->n_threads; i++)
        run.scratch[i] = aligned_alloc(KERNEL_ALIGNMENT, act_align(kernel_scratch_bytes(k)));
    if (!acts || !x || !out) abort();
    check_fill_weights(format, 0, weights, max_rows * (k / info->block_elements));
    for (size_t t = 0; t < PREFILL_TOKENS; t++) {
        check_fill_acts(0, x, k);
        kernel_select("scalar")->quantize(act, x, k, acts + t * act_bytes);
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        run.table = kernel_select("scalar");
        run.job = (struct kernel_matmul){format,
                                         weights,
                                         row_bytes,
                                         k,
                                         1.0f,
                                         NULL,
                                         acts,
                                         act_bytes,
                                         cases[c].n_tokens,
                                         out,
                                         c < 2 ? max_rows : PREFILL_ROWS};
        run.n_rows = cases[c].scalar_rows < max_rows ? cases[c].scalar_rows : max_rows;
        struct result scalar = time_run(&run, threads);
        for (const char *const *name = kernel_names(); *name; name++) {
            run.table = kernel_select(*name);
            run.n_rows = c < 2 || max_rows < PREFILL_ROWS ? max_rows : PREFILL_ROWS;
            bool is_scalar = run.table == kernel_select("scalar");
            print_result(options, *name, info->name, cases[c].what, cases[c].n_tokens,
                         is_scalar ? scalar : time_run(&run, threads), scalar);
        }
    }
    for (int i = 0; i < options->n_threads; i++)
        free(run.scratch[i]);
    free(acts);
    free(x);
    free(out);
}

static void bench_quantize(const struct check_bench *options, enum kernel_act act, const char *name)
{
    enum { REPEAT = 1000 };
    size_t k = options->k, size_bytes = kernel_act_bytes(act, k);
    uint8_t *row = aligned_alloc(KERNEL_ALIGNMENT, size_bytes);
    float *x = calloc(k, sizeof *x);
    if (!row || !x) abort();
    check_fill_acts(0, x, k);
    struct result scalar = {0};
    for (int pass = 0; pass < 2; pass++) { /* first the scalar table alone */
        for (const char *const *isa = kernel_names(); *isa; isa++) {
            const struct kernel_table *table = kernel_select(*isa);
            if (pass == 0 && table != kernel_select("scalar")) continue;
            uint64_t start = clock_ns();
            for (int i = 0; i < REPEAT; i++)
                table->quantize(act, x, k, row);
            double ns = (double)(clock_ns() - start) / REPEAT;
            struct result r = {ns, (double)(k * sizeof *x) / ns, 0};
            if (pass == 0)
                scalar = r;
            else
                print_result(options, *isa, name, "quantize", 1, r, scalar);
        }
    }
    free(row);
    free(x);
}

static bool wanted(const struct check_bench *options, const char *name)
{
    if (!options->formats || !options->formats[0]) return true;
    for (const char *const *f = options->formats; *f; f++) {
        if (strcasecmp(*f, name) == 0) return true;
    }
    return false;
}

int check_bench_run(const struct check_bench *options)
{
    struct threads *threads;
    struct stile_error error;
    if (options->n_threads < 1 || options->n_threads > MAX_THREADS || options->k == 0 || options->k > 1 << 20) {
        fprintf(stderr, "kernel_check: -t must be in 1..%d, -k in 1..1048576\n", MAX_THREADS);
        return 2;
    }
    if (threads_create(&threads, options->n_threads, &error) < 0) {
        fprintf(stderr, "kernel_check: %s\n", error.message);
        return 1;
    }
    uint8_t *weights = aligned_alloc(1 << 21, DECODE_BYTES);
    if (!weights) abort();
    bench_quantize(options, ACT_Q8_32, "Q8_32");
    if (options->k % 256 == 0) bench_quantize(options, ACT_Q8_256, "Q8_256");
    for (enum format format = 0; format < FORMAT_COUNT; format++) {
        const struct format_info *info = format_info(format);
        if (!info || !info->decode || !wanted(options, info->name)) continue;
        if (options->k % info->block_elements == 0) bench_matmul(options, threads, format, weights);
    }
    if (wanted(options, "ops")) check_bench_ops(options);
    if (options->json) printf("]\n");
    free(weights);
    threads_free(threads);
    return 0;
}
