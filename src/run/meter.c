/* meter.c - memory and threads kept ready to see how fast the machine is. */
#include "base/clock.h"
#include "base/threads.h"
#include "plan/machine_measure.h"
#include "run/probe_private.h"
#include "run/products.h"

#include <stdlib.h>

struct stile_meter {
    struct threads *threads;
    struct machine_area area;
};

int stile_meter_create(struct stile_meter **meter, uint32_t n_threads, struct stile_error *error)
{
    struct machine *machine = malloc(sizeof *machine);
    struct stile_meter *m = calloc(1, sizeof *m);
    int n = n_threads <= THREADS_MAX ? (int)n_threads : THREADS_MAX + 1;
    int failed = machine && m ? machine_describe(machine, n, false, error) : error_memory(error, sizeof *m, "a meter");
    size_t size_bytes = failed ? 0 : machine_area_bytes(machine, n);
    free(machine);
    if (!failed) failed = threads_create(&m->threads, n, error);
    if (!failed && (size_bytes == 0 || !machine_area_create(&m->area, m->threads, size_bytes, true)))
        failed = error_set(error, STILE_ERROR_MEMORY, "too little memory is free to measure its bandwidth");
    if (failed)
        stile_meter_free(m);
    else
        *meter = m;
    return failed;
}

void stile_meter_free(struct stile_meter *meter)
{
    if (!meter) return;
    machine_area_free(&meter->area);
    threads_free(meter->threads);
    free(meter);
}

double stile_meter_read(struct stile_meter *meter, uint64_t time_ns)
{
    return machine_area_pass(&meter->area, meter->threads, STILE_MEMORY_READ, time_ns);
}

/* ---- the pace ------------------------------------------------------------------------------- */

static double read_pass(void *subject, const struct stile_measurement *m, uint64_t time_ns)
{
    (void)m;
    return stile_meter_read(subject, time_ns);
}

static double product_pass(void *subject, const struct stile_measurement *m, uint64_t time_ns)
{
    (void)m;
    return products_pass(subject, time_ns);
}

/* Takes turns with short samples, and the medians of these: what disturbs for a moment spoils some, not all.
 * Where others have a processor all the time, nothing is known. */
void stile_meter_pace(struct stile_meter *meter, struct stile_pace *pace)
{
    enum { READ, ONE, MANY, N, SAMPLES = 15, SAMPLE_NS = 9 * 1000 * 1000 };
    const uint32_t n_threads = (uint32_t)threads_count(meter->threads);
    struct products one, many;
    char *one_weights, *many_weights;
    bool has_one = probe_cached_create(&one, meter->threads, FORMAT_Q4_K, &one_weights);
    bool has_many = probe_matmul_create(&many, meter->threads, FORMAT_Q8_0, &many_weights);
    struct stile_measurement m[N] = {{.n_threads = n_threads}, {.n_threads = n_threads}, {.n_threads = n_threads}};
    int n_disturbed = 0;
    for (int i = 0; i < SAMPLES; i++) {
        bool disturbed[N] = {false};
        m[READ].samples[i] = machine_sample(read_pass, meter, &m[READ], SAMPLE_NS, &disturbed[READ]);
        if (has_one) m[ONE].samples[i] = machine_sample(product_pass, &one, &m[ONE], SAMPLE_NS, &disturbed[ONE]);
        if (has_many) m[MANY].samples[i] = machine_sample(product_pass, &many, &m[MANY], SAMPLE_NS, &disturbed[MANY]);
        n_disturbed += disturbed[READ] + disturbed[ONE] + disturbed[MANY];
    }
    for (int i = 0; i < N; i++) {
        m[i].n_samples = SAMPLES;
        machine_summarize(&m[i]);
    }
    *pace = (struct stile_pace){.n_threads = 0};
    if (3 * n_disturbed <= N * SAMPLES)
        *pace = (struct stile_pace){.n_threads = n_threads,
                                    .read_bytes_per_s = m[READ].median,
                                    .matvec_bytes_per_s = m[ONE].median,
                                    .matmul_macs_per_s = m[MANY].median};
    free(one_weights);
    free(many_weights);
    products_free(&one);
    products_free(&many);
}

/* ---- the disk ------------------------------------------------------------------------------- */

/* A disk that idled needs some time until it reads at its usual pace: at one place, until two samples agree. */
static void wake_up(const struct machine_disk *disk, bool cached)
{
    enum { SAMPLE_NS = 80 * 1000 * 1000, TIME_NS = 600 * 1000 * 1000 };
    const uint64_t end_ns = clock_ns() + TIME_NS;
    for (double last = 0; clock_ns() < end_ns;) {
        double rate = machine_disk_stream(disk, cached, 0, SAMPLE_NS);
        if (rate < 1.1 * last) return;
        last = rate;
    }
}

/* Each place is read twice, and the second time counts, as in a pass that is not the first: where the disk, or the host
 * of a virtual one, has a cache of its own, it may hold by then what it will hold. */
static double usual_pace(const struct machine_disk *disk, bool cached)
{
    enum { N_PLACES = 7, SAMPLE_NS = 50 * 1000 * 1000, TIME_NS = 1500 * 1000 * 1000 };
    const uint64_t end_ns = clock_ns() + TIME_NS; /* slow disks need longer for a sample */
    struct stile_measurement places = {.n_samples = 0};
    for (uint32_t i = 0; i < N_PLACES && (i == 0 || clock_ns() < end_ns); i++) {
        uint64_t offset = disk->size_bytes / N_PLACES * i;
        for (int pass = 0; pass < 2; pass++)
            places.samples[i] = machine_disk_stream(disk, cached, offset, SAMPLE_NS);
        places.n_samples++;
    }
    machine_summarize(&places);
    return places.median;
}

double stile_disk_pace(const char *path)
{
    struct machine_disk disk;
    struct stile_probe *probe = calloc(1, sizeof *probe); /* takes the description, which nobody wants */
    double rate = 0;
    if (!probe) return 0;
    if (machine_disk_open(&disk, path, 0, 0, NULL, probe)) {
        bool cached = disk.fd_direct < 0;
        wake_up(&disk, cached);
        rate = usual_pace(&disk, cached);
        machine_disk_close(&disk);
    }
    free(probe);
    return rate;
}
