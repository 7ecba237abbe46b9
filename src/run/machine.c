/* The machine, as the public interface describes it. */
#include "plan/machine.h"

#include "base/threads.h"
#include "kernel/kernel.h"
#include "run/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int describe(struct stile_machine *machine, bool measure, struct stile_error *error)
{
    struct machine *m = malloc(sizeof *m);
    if (!m) return error_memory(error, sizeof *m, "the description of the machine");
    int failed = machine_describe(m, threads_default_count(), measure, error);
    if (!failed) {
        *machine = (struct stile_machine){
            .n_threads = (uint32_t)m->n_threads,
            .memory_bytes = m->memory.total_bytes,
            .read_bytes_per_s = m->read_bytes_per_s,
            .from_cache = m->from_cache,
            .caches = m->caches,
        };
        snprintf(machine->cpu, sizeof machine->cpu, "%s", m->cpu);
        snprintf(machine->isa, sizeof machine->isa, "%s", kernel_select(NULL)->isa);
        snprintf(machine->large_pages, sizeof machine->large_pages, "%s", m->large_pages);
    }
    free(m);
    return failed;
}

int stile_machine_describe(struct stile_machine *machine, struct stile_error *error)
{
    return describe(machine, true, error);
}

int stile_machine_known(struct stile_machine *machine, struct stile_error *error)
{
    return describe(machine, false, error);
}

uint64_t stile_memory_free(void)
{
    static const struct stile_session_options no_limit = {.n_ctx = 0};
    struct machine_memory memory;
    machine_memory_read(&memory, "/proc", "/sys/fs/cgroup");
    return budget_usable_bytes(&no_limit, &memory);
}

void stile_probe_known(struct stile_probe *probe)
{
    struct machine *m = malloc(sizeof *m);
    memset(probe, 0, sizeof *probe);
    if (m && machine_describe(m, threads_default_count(), false, NULL) == STILE_OK) *probe = m->probe;
    free(m);
}
