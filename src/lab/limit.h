/* limit.h - how fast this machine could have done it: measured while the models take turns, so that what slows them
 * slows it too.
 */
#ifndef STILE_LAB_LIMIT_H
#define STILE_LAB_LIMIT_H

#include "stile.h"

/* A process that sees how fast the machine is when it is asked to. In a process of its own the memory for that is not
 * this one's. */
struct limit;
/* NULL where it cannot be started. Call it while there are no other threads. */
struct limit *limit_start(void);
void limit_stop(struct limit *limit);
/* Bytes per second that n_threads threads read just now; 0 where that cannot be measured. limit may be NULL. */
double limit_read_rate(struct limit *limit, uint32_t n_threads);
/* How fast the machine is just now with n_threads threads; false where that cannot be measured. */
bool limit_pace(struct limit *limit, uint32_t n_threads, struct stile_pace *pace);
/* Processor time that this took until now. */
double limit_cpu_s(const struct limit *limit);

/* Adds the weights' multiplications of these operations to *macs, and to *time_s the time that the kernels alone need
 * for them, at the best rates that were probed; *time_s becomes negative where one of the rates is not known. */
void limit_arithmetic(const struct stile_probe *probe, uint32_t n_threads, const char *isa,
                      const struct stile_profile_entry *entries, size_t n, double *macs, double *time_s);

#endif
