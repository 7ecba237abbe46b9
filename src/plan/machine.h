/* machine.h - what this computer can do: processor, caches, memory, and how fast all of it is.
 *
 * The read bandwidth is the limit that decoding runs against. It is measured once (about 0.3 s) and kept in the cache
 * folder (machine.json), under a key made of processor name, number of processors, threads and physical memory; so is the
 * probe, everything that `stile probe` measured (run/probe.c).
 */
#ifndef STILE_PLAN_MACHINE_H
#define STILE_PLAN_MACHINE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine_memory {
    uint64_t physical_bytes;  /* of the machine, whatever its limits */
    uint64_t total_bytes;     /* this process may use at most: physical memory, or a smaller cgroup limit */
    uint64_t available_bytes; /* of that, free now without swapping (page cache counts as free) */
};

struct machine {
    char cpu[96]; /* "AMD EPYC 9755 128-Core Processor" */
    int n_processors;
    int n_threads; /* that the bandwidth belongs to */
    struct machine_memory memory;
    struct stile_caches caches;
    char large_pages[16];     /* "always", "madvise", "never"; "" where the system does not say */
    double read_bytes_per_s;  /* best sequential read with n_threads; 0: not known */
    bool from_cache;          /* the bandwidth was measured in an earlier run */
    struct stile_probe probe; /* time is 0 when there is none; numbers with spread, by stile_probe_find */
};

/* Describes the machine for n_threads threads (1..THREADS_MAX). Without `measure` only the cache is asked for the
 * bandwidth. A cache that is missing, damaged or cannot be written is no error; too little free memory to measure in
 * leaves read_bytes_per_s 0. Fails where the threads cannot be started. */
int machine_describe(struct machine *machine, int n_threads, bool measure, struct stile_error *error);
/* Keeps the probe, and the read bandwidth that is in it, for this machine. */
int machine_keep_probe(const struct machine *machine, const struct stile_probe *probe, struct stile_error *error);

/* A machine as `stile probe --json` printed it, maybe on another one. All memory counts as available. Errors: IO, and
 * MALFORMED for what is no such file, incomplete, or of another version. */
int machine_read_file(struct machine *machine, const char *path, struct stile_error *error);

/* The best of reading memory with so many threads; 0: that was not measured. */
double machine_best_read(const struct stile_probe *probe, int n_threads);
/* Median, best and spread of the samples. */
void machine_summarize(struct stile_measurement *measurement);

/* ---- the parts, for the tests ---- */

/* Memory as told by the folders `proc` (normally "/proc": meminfo, self/cgroup) and `cgroup` ("/sys/fs/cgroup", version
 * 1, 2 or both; the smallest limit from the process's group up to the root counts). */
void machine_memory_read(struct machine_memory *memory, const char *proc, const char *cgroup);

/* Caches as told by the folder `cache` ("/sys/devices/system/cpu/cpu0/cache"). */
void machine_caches_read(struct stile_caches *caches, const char *cache, int n_processors);

/* The bandwidth kept under `key` in the file at `path`, 0 when there is none (or no such file, or it is damaged). */
double machine_cache_load(const char *path, const char *key);
/* Keeps it, beside those of other keys: written to a new file that then replaces the old one. Makes the folder. */
int machine_cache_store(const char *path, const char *key, double read_bytes_per_s, struct stile_error *error);
/* The same with a probe, whose time is 0 when there is none. */
void machine_cache_load_probe(const char *path, const char *key, struct stile_probe *probe);
int machine_cache_store_probe(const char *path, const char *key, double read_bytes_per_s,
                              const struct stile_probe *probe, struct stile_error *error);

#endif
