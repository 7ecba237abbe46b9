/* host.h - what the computer says about itself while something is measured on it, and what disturbed the measuring.
 *
 * From /proc and /sys; what cannot be read there is 0 or "".
 */
#ifndef STILE_LAB_HOST_H
#define STILE_LAB_HOST_H

#include "stile.h"

struct host {
    struct stile_machine machine; /* with its read bandwidth, 0 where it could not be measured */
    struct stile_probe probe;     /* what `stile probe` measured last; its time is 0 where it never did */
    int n_processors;
    char kernel[200];  /* "Linux 6.1.0 x86_64" */
    char governor[32]; /* "performance"; "" where there is none to read */
};
/* Measures the read bandwidth in a process of its own, so that the memory it takes does not count as this one's peak.
 * Call it before there are threads. */
void host_describe(struct host *host);

/* The kernels that are used: those asked for, or the host's best for NULL. */
const char *host_isa(const struct host *host, const char *isa);

/* Counters of one moment. */
struct host_moment {
    uint64_t time_ns;
    double ticks, busy_ticks, steal_ticks; /* of /proc/stat, over all processors */
    double own_s;                          /* processor time of this process */
    double mhz;                            /* mean over the processors */
    uint64_t n_throttled;                  /* times that a core was slowed down for heat */
};
void host_look(struct host_moment *moment);

/* What disturbed between two moments. */
struct host_noise {
    double steal_share;       /* of all processor time, taken by the machine's host */
    double others_processors; /* that other processes kept busy, on average */
    bool crowded;             /* these and n_threads of ours are more than there are */
    double mhz_begin, mhz_end;
    uint64_t n_throttled;
};
void host_noise_between(const struct host_moment *begin, const struct host_moment *end, int n_processors,
                        uint32_t n_threads, struct host_noise *noise);

/* Most memory this process had at any time. */
uint64_t host_peak_memory(void);

/* Of what it has now, that which is its own: without the pages of files, which the system can take back at any time. 0
 * where the system does not say. */
uint64_t host_own_memory(void);

/* Asks the system to forget the file's pages, and looks: false when more than 1% of them stayed (or it cannot tell). A
 * file that is mapped and used somewhere stays. */
bool host_drop_file(const char *path);

/* FNV-1a, 64 bits: "fnv1a64:0123456789abcdef" over the file where it has at most 128 MiB, otherwise
 * "fnv1a64-sampled:..." over its size, its first MiB and 256 pages spread evenly over it. "" where it cannot be read.
 * Tells files apart, proves nothing. */
void host_file_hash(const char *path, char *out, size_t capacity);

#endif
