/* probe.c - measures the machine: which quantities, at what settings, for how long each. How: plan/machine_measure.h,
 * and probe_kernels.c.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/paths.h"
#include "base/threads.h"
#include "kernel/kernel.h"
#include "plan/machine_measure.h"
#include "run/probe_private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGE_PAGE_BYTES = 2 << 20, SMALL_PAGE_BYTES = 4096, LATENCY_BYTES_MAX = 256 << 20 };

/* ---- what is measured ----------------------------------------------------------------------- */

static const enum stile_quantity memory_quantities[] = {STILE_MEMORY_READ, STILE_MEMORY_WRITE, STILE_MEMORY_COPY};
static const size_t page_kinds[] = {SMALL_PAGE_BYTES, LARGE_PAGE_BYTES};

/* From the inner cache to memory. */
static const size_t latency_bytes[] = {16 << 10, 64 << 10, 256 << 10, 1 << 20,
                                       4 << 20,  16 << 20, 64 << 20,  LATENCY_BYTES_MAX};

/* Every block with every number of reads in flight; through the page cache the first of these alone. */
static const struct {
    enum stile_quantity quantity;
    size_t block_bytes;
} disk_reads[] = {
    {STILE_DISK_SEQUENTIAL, 1 << 20}, {STILE_DISK_SEQUENTIAL, 4 << 20}, {STILE_DISK_RANDOM, 4 << 10},
    {STILE_DISK_RANDOM, 64 << 10},    {STILE_DISK_RANDOM, 1 << 20},     {STILE_DISK_RANDOM, 4 << 20},
    {STILE_DISK_BUFFERED, 1 << 20},
};
static const int in_flight[] = {1, 8, 32};
/* As weights are streamed: ways of file/reader.h, as its defaults are. */
static const char *const streams[] = {"direct", "cached"};
enum { STREAMED_IN_FLIGHT = 16, STREAMED_BYTES = 2 << 20 };

enum {
    N_MEMORY = sizeof memory_quantities / sizeof *memory_quantities,
    N_PAGES = sizeof page_kinds / sizeof *page_kinds,
    N_LATENCIES = sizeof latency_bytes / sizeof *latency_bytes,
    N_DISK = sizeof disk_reads / sizeof *disk_reads,
    N_IN_FLIGHT = sizeof in_flight / sizeof *in_flight,
    N_STREAMS = sizeof streams / sizeof *streams,
    N_DISK_ALL = (N_DISK - 1) * N_IN_FLIGHT + 1,
};

/* Shares of the time; the kernels have theirs. The rest goes into getting and filling memory. */
static const double memory_share = 0.16, latency_share = 0.06, write_share = 0.1, disk_share = 0.18,
                    stream_share = 0.06;

/* ---- sampling ------------------------------------------------------------------------------- */

static void say(struct probe_work *work, const char *what)
{
    if (work->options->on_progress) work->options->on_progress(work->options->user, what, work->i, work->n);
}

/* The entry for what m measures, made where it is missing; NULL when there is no room. */
static struct stile_measurement *entry_for(struct stile_probe *probe, const struct stile_measurement *m)
{
    const struct stile_measurement *known =
        stile_probe_find(probe, m->quantity, m->n_threads, m->size_bytes, m->format);
    if (known) return &probe->measurements[known - probe->measurements];
    if (probe->n == STILE_PROBE_MAX) return NULL;
    probe->measurements[probe->n] = *m;
    return &probe->measurements[probe->n++];
}

void probe_sample(struct probe_work *work, const char *what, struct stile_measurement m, double share,
                  double (*pass)(void *subject, const struct stile_measurement *m, uint64_t time_ns), void *subject)
{
    if (probe_cancelled(work)) return;
    work->i++;
    say(work, what);
    uint64_t time_ns = (uint64_t)(1e9 * work->time_s * share / work->n_samples);
    bool computes = m.quantity < STILE_DISK_SEQUENTIAL && m.quantity != STILE_LATENCY;
    bool disturbed = false;
    double value = computes ? machine_sample(pass, subject, &m, time_ns, &disturbed) : pass(subject, &m, time_ns);
    work->n_disturbed += disturbed;
    struct stile_measurement *entry = value > 0 && !probe_cancelled(work) ? entry_for(work->probe, &m) : NULL;
    if (!entry || entry->n_samples == STILE_PROBE_SAMPLES_MAX) return;
    entry->samples[entry->n_samples++] = value;
    machine_summarize(entry);
}

/* ---- memory --------------------------------------------------------------------------------- */

struct memory_subject {
    struct machine_area area;
    struct threads *threads;
};

static double memory_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    const struct memory_subject *subject = argument;
    if (m->quantity == STILE_LATENCY) return machine_latency_pass(&subject->area, time_ns);
    return machine_area_pass(&subject->area, subject->threads, m->quantity, time_ns);
}

/* Touching memory takes time as well: no more than about a quarter of it at 1 GB/s. */
size_t probe_affordable(const struct probe_work *work, size_t size_bytes)
{
    double most_bytes = work->time_s * (256 << 20);
    return (double)size_bytes > most_bytes ? (size_t)most_bytes : size_bytes;
}

static int measure_memory(struct probe_work *work, int n_threads, size_t page_bytes, struct stile_error *error)
{
    char what[64];
    struct memory_subject subject = {.threads = NULL};
    size_t size_bytes = probe_affordable(work, machine_area_bytes(work->machine, n_threads));
    snprintf(what, sizeof what, "memory, %d thread%s", n_threads, n_threads > 1 ? "s" : "");
    say(work, what);
    int failed = threads_create(&subject.threads, n_threads, error);
    if (failed) return failed;
    bool large = page_bytes > SMALL_PAGE_BYTES;
    if (machine_area_create(&subject.area, subject.threads, size_bytes, large)) {
        if (large && work->probe->large_pages_share < 0)
            work->probe->large_pages_share = machine_area_large(&subject.area, "/proc/self/smaps");
        for (uint32_t i = 0; i < N_MEMORY * work->n_samples; i++) {
            const struct stile_measurement m = {.quantity = memory_quantities[i % N_MEMORY],
                                                .n_threads = (uint32_t)n_threads,
                                                .size_bytes = page_bytes};
            probe_sample(work, what, m, memory_share / (work->n_counts * N_PAGES * N_MEMORY), memory_pass, &subject);
        }
    }
    machine_area_free(&subject.area);
    threads_free(subject.threads);
    return 0;
}

static int measure_latency(struct probe_work *work, struct stile_error *error)
{
    struct memory_subject subject = {.threads = NULL};
    uint64_t most_bytes = probe_affordable(work, LATENCY_BYTES_MAX);
    if (most_bytes > work->machine->memory.available_bytes / 8) most_bytes = work->machine->memory.available_bytes / 8;
    int failed = threads_create(&subject.threads, 1, error);
    if (failed) return failed;
    if (machine_area_create(&subject.area, subject.threads, (size_t)most_bytes, true)) {
        for (int i = 0; i < N_LATENCIES && latency_bytes[i] <= subject.area.size_bytes; i++) {
            const struct stile_measurement m = {
                .quantity = STILE_LATENCY, .n_threads = 1, .size_bytes = latency_bytes[i]};
            say(work, "latency");
            if (!probe_cancelled(work)) machine_latency_prepare(&subject.area, latency_bytes[i]);
            for (uint32_t k = 0; k < work->n_samples; k++)
                probe_sample(work, "latency", m, latency_share / N_LATENCIES, memory_pass, &subject);
        }
    }
    machine_area_free(&subject.area);
    threads_free(subject.threads);
    return 0;
}

/* ---- disk ----------------------------------------------------------------------------------- */

struct disk_subject {
    struct machine_disk disk;
    struct threads *threads;
};

static double disk_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    const struct disk_subject *subject = argument;
    return machine_disk_pass(&subject->disk, subject->threads, m->quantity, (size_t)m->size_bytes, time_ns);
}

static double stream_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    const struct disk_subject *subject = argument;
    return machine_disk_stream(&subject->disk, strcmp(m->format, "cached") == 0, 0, time_ns);
}

/* The folder of the models, or the first above it that exists. */
static void default_folder(char path[PATH_MAX])
{
    if (path_cache(path, PATH_MAX, "models", NULL) != STILE_OK) snprintf(path, PATH_MAX, "/");
    while (access(path, F_OK) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) break;
        *slash = '\0';
    }
}

static int measure_disk(struct probe_work *work, struct stile_error *error)
{
    char folder[PATH_MAX];
    const char *path = work->options->disk;
    struct disk_subject subject;
    int failed = 0;
    if (!path) default_folder(folder), path = folder;
    say(work, "disk, writing a file to read");
    uint64_t size_bytes_max = (uint64_t)(work->time_s * (64 << 20)), least_bytes = 8 << 20;
    if (size_bytes_max < least_bytes) size_bytes_max = least_bytes;
    if (!machine_disk_open(&subject.disk, path, size_bytes_max, (uint64_t)(1e9 * work->time_s * write_share),
                           work->options->cancel, work->probe))
        return 0; /* the reason is in the probe */
    for (uint32_t i = 0; i < N_IN_FLIGHT * work->n_samples && !failed && !probe_cancelled(work); i++) {
        int n = in_flight[i % N_IN_FLIGHT];
        failed = threads_create(&subject.threads, n, error);
        for (int k = 0; k < N_DISK && !failed; k++) {
            const struct stile_measurement m = {
                .quantity = disk_reads[k].quantity, .n_threads = (uint32_t)n, .size_bytes = disk_reads[k].block_bytes};
            if (m.quantity == STILE_DISK_BUFFERED && n > 1) continue;
            if ((uint64_t)n * m.size_bytes > work->machine->memory.available_bytes / 8) continue;
            probe_sample(work, "disk", m, disk_share / N_DISK_ALL, disk_pass, &subject);
        }
        if (!failed) threads_free(subject.threads);
        for (int k = 0; k < N_STREAMS && i % N_IN_FLIGHT == 0 && !failed; k++) {
            struct stile_measurement m = {
                .quantity = STILE_DISK_STREAMED, .n_threads = STREAMED_IN_FLIGHT, .size_bytes = STREAMED_BYTES};
            snprintf(m.format, sizeof m.format, "%s", streams[k]);
            probe_sample(work, "disk", m, stream_share / N_STREAMS, stream_pass, &subject);
        }
    }
    machine_disk_close(&subject.disk);
    return failed;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int measure_all(struct probe_work *work, struct stile_error *error)
{
    int failed = 0;
    for (int i = 0; i < work->n_counts; i++)
        for (int p = 0; p < N_PAGES && !failed && !probe_cancelled(work); p++)
            failed = measure_memory(work, work->counts[i], page_kinds[p], error);
    if (!failed && !probe_cancelled(work)) failed = measure_latency(work, error);
    if (!failed && !probe_cancelled(work)) failed = probe_kernels(work, error);
    if (!failed && !probe_cancelled(work)) failed = measure_disk(work, error);
    if (!failed && probe_cancelled(work)) failed = error_set(error, STILE_ERROR_CANCELLED, "stopped");
    return failed;
}

int stile_probe_measure(struct stile_probe *probe, const struct stile_probe_options *options, struct stile_error *error)
{
    static const struct stile_probe_options defaults = {.time_s = 0};
    struct machine *machine = malloc(sizeof *machine);
    int n_threads = threads_default_count();
    memset(probe, 0, sizeof *probe);
    struct probe_work work = {.options = options ? options : &defaults, .machine = machine, .probe = probe};
    if (!machine) return error_memory(error, sizeof *machine, "a probe");
    work.time_s = work.options->time_s > 0 ? work.options->time_s : 15;
    work.n_samples = work.time_s < 5 ? 3 : work.time_s < 40 ? 7 : 15;
    for (int n = 1; n < n_threads; n *= 2)
        work.counts[work.n_counts++] = n;
    work.counts[work.n_counts++] = n_threads;
    work.n = (uint32_t)(work.n_counts * N_PAGES * N_MEMORY + N_LATENCIES + N_DISK_ALL + N_STREAMS);
    work.n = (work.n + probe_kernels_count(&work)) * work.n_samples;
    uint64_t begin_ns = clock_ns();
    probe->time = (int64_t)time(NULL);
    probe->large_pages_share = -1;
    snprintf(probe->commit, sizeof probe->commit, "%s", stile_commit());
    snprintf(probe->isa, sizeof probe->isa, "%s", kernel_select(NULL)->isa);
    int failed = machine_describe(machine, n_threads, false, error);
    if (!failed) failed = measure_all(&work, error);
    probe->duration_s = (double)(clock_ns() - begin_ns) / 1e9;
    /* a result that cannot be kept is still a result */
    if (!failed) machine_keep_probe(machine, probe, NULL);
    free(machine);
    return failed;
}
