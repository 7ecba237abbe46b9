/* The machine, as the public interface describes it. */
#include "plan/machine.h"

#include "base/threads.h"
#include "kernel/kernel.h"

#include <stdio.h>
#include <string.h>

static int describe(struct stile_machine *machine, bool measure, struct stile_error *error)
{
    struct machine m;
    int failed = machine_describe(&m, threads_default_count(), measure, error);
    if (failed) return failed;
    *machine = (struct stile_machine){
        .n_threads = (uint32_t)m.n_threads,
        .memory_bytes = m.memory.total_bytes,
        .read_bytes_per_s = m.read_bytes_per_s,
        .from_cache = m.from_cache,
    };
    snprintf(machine->cpu, sizeof machine->cpu, "%s", m.cpu);
    snprintf(machine->isa, sizeof machine->isa, "%s", kernel_select(NULL)->isa);
    return 0;
}

int stile_machine_probe(struct stile_machine *machine, struct stile_error *error)
{
    return describe(machine, true, error);
}

int stile_machine_known(struct stile_machine *machine, struct stile_error *error)
{
    return describe(machine, false, error);
}

const char *stile_version(void)
{
    return STILE_VERSION;
}
