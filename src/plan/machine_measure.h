/* machine_measure.h - how fast memory and disks are, by using them. What to measure, and how often: run/probe.c. */
#ifndef STILE_PLAN_MACHINE_MEASURE_H
#define STILE_PLAN_MACHINE_MEASURE_H

#include "plan/machine.h"

struct threads;

/* A sample: pass's result over about time_ns with n_threads threads. Where others had a processor meanwhile it is taken
 * again, twice at most; the largest counts, and *disturbed says so. */
double machine_sample(double (*pass)(void *subject, const struct stile_measurement *m, uint64_t time_ns), void *subject,
                      const struct stile_measurement *m, uint64_t time_ns, bool *disturbed);

/* ---- bandwidth ---- */

/* Memory to go through, in pages of one kind; each thread of a pool has touched its own part first, so that it lies next
 * to it. */
struct machine_area {
    char *data; /* aligned to a large page */
    size_t size_bytes;
    void *mapped;
    size_t mapped_bytes;
};

/* Bytes that caches cannot hold for n_threads threads, and that may be had: 0 where there is not enough memory for a
 * measurement. */
size_t machine_area_bytes(const struct machine *machine, int n_threads);
/* size_bytes is rounded down to large pages. False when it cannot be had. */
bool machine_area_create(struct machine_area *area, struct threads *threads, size_t size_bytes, bool large_pages);
void machine_area_free(struct machine_area *area);
/* Bytes per second of STILE_MEMORY_READ, _WRITE or _COPY with the pool that touched the area: whole passes for about
 * time_ns, at least one. A copy goes from one half of the area to the other and counts each byte once. */
double machine_area_pass(const struct machine_area *area, struct threads *threads, enum stile_quantity quantity,
                         uint64_t time_ns);
/* The share of the area that lies in large pages, by the file `smaps` ("/proc/self/smaps"); negative: it does not say.
 */
double machine_area_large(const struct machine_area *area, const char *smaps);

/* Best rate of reading `size_bytes` of memory in large pages, over passes that take `time_ns` together (at least two);
 * 0 when the memory cannot be had. */
double machine_measure_read(struct threads *threads, size_t size_bytes, uint64_t time_ns);

/* ---- latency ---- */

/* Makes the first size_bytes of the area (a multiple of 64) one cycle through all its cache lines, in random order. */
void machine_latency_prepare(const struct machine_area *area, size_t size_bytes);
/* Nanoseconds for each step on that cycle, walked for about time_ns; a step needs the result of the one before. */
double machine_latency_pass(const struct machine_area *area, uint64_t time_ns);

/* ---- disks ---- */

/* A file to read from. */
struct machine_disk {
    int fd_direct; /* -1: this file system has no direct reads */
    int fd;
    uint64_t size_bytes;
    void *buffers; /* one for each thread */
};

enum { MACHINE_DISK_BLOCK_MAX = 4 << 20, MACHINE_DISK_THREADS_MAX = 32 };

/* Opens what `path` names: a file is read as it is; in a folder a file without a name is written, for at most time_ns and
 * size_bytes_max, which is gone when it is closed or the process ends, however that happens. Fills probe's disk_path,
 * disk_kind and, where not everything can be measured, disk_note. True when there is something to measure; false with the
 * reason in disk_note. `cancel` (may be NULL) ends the writing. */
bool machine_disk_open(struct machine_disk *disk, const char *path, uint64_t size_bytes_max, uint64_t time_ns,
                       const volatile int *cancel, struct stile_probe *probe);
void machine_disk_close(struct machine_disk *disk);
/* Bytes per second of STILE_DISK_SEQUENTIAL, _RANDOM (direct) or _BUFFERED reads of block_bytes, one in flight for each
 * thread of the pool, for about time_ns. 0 when the file cannot be read this way. */
double machine_disk_pass(const struct machine_disk *disk, struct threads *threads, enum stile_quantity quantity,
                         size_t block_bytes, uint64_t time_ns);
/* The same as weights are streamed (file/reader.h), past the page cache or through it, from the file's byte
 * `offset` on and round. */
double machine_disk_stream(const struct machine_disk *disk, bool cached, uint64_t offset, uint64_t time_ns);

#endif
