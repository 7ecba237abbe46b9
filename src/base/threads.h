/* threads.h - a pool of persistent threads that run one function together.
 *
 * threads_run calls fn(arg, i, n) on every thread i of n, the caller being thread 0, and returns when all are done.
 * Inside fn, threads_barrier waits until every thread of the pool has reached it. Waiting threads spin for some
 * microseconds (not when there are more threads than processors), then offer their core to others, and sleep after 100.
 * On machines with several memory nodes workers stay on one each, so memory that a worker touches first lies near it.
 * One caller at a time. Workers take no signals but those their own work raises (SIGBUS, SIGSEGV, ...).
 */
#ifndef STILE_BASE_THREADS_H
#define STILE_BASE_THREADS_H

#include "base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

enum { THREADS_MAX = 256 };

struct threads;

/* One per fast core that this process may use, and no more than a CPU quota pays for; at least 1. Work is split evenly
 * and everybody waits for the slowest, so a core at half the speed costs more than it brings; a second thread on a core
 * brings nothing to loops that already fill it. */
int threads_default_count(void);

/* n in 1..THREADS_MAX. */
int threads_create(struct threads **threads, int n, struct stile_error *error);
void threads_free(struct threads *threads);
int threads_count(const struct threads *threads);
void threads_run(struct threads *threads, void (*fn)(void *arg, int i, int n), void *arg);
void threads_barrier(struct threads *threads);

/* Round the creation of a thread, which inherits it: signals meant for the program (Ctrl-C, a resized window) are for its
 * own threads; this one gets only those that its own work can raise. */
void threads_block_signals(sigset_t *before);
void threads_restore_signals(const sigset_t *before);

/* pthread_cond_wait that returns after 50 ms at the latest, for those who have to look at a cancel flag too. */
void threads_wait_briefly(pthread_cond_t *changed, pthread_mutex_t *lock);

/* The part [*begin, *end) of n items that is thread i's of n_threads, in multiples of `grain`. */
static inline void threads_split(size_t n, size_t grain, int i, int n_threads, size_t *begin, size_t *end)
{
    size_t chunks = (n + grain - 1) / grain;
    size_t first = chunks * (size_t)i / (size_t)n_threads, last = chunks * ((size_t)i + 1) / (size_t)n_threads;
    *begin = first * grain < n ? first * grain : n;
    *end = last * grain < n ? last * grain : n;
}

#endif
