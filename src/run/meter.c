/* meter.c - memory and threads kept ready to read it. */
#include "base/threads.h"
#include "plan/machine_measure.h"

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
