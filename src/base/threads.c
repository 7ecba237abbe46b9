/* The pool knows one way of waiting: a barrier. Workers wait at it for work, everybody meets at it at the end, and the
 * work itself may use it in between. */
#include "base/threads.h"
#include "base/clock.h"
#include "base/topology.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long to wait before sleeping: longer than the gap between two operations or two tokens, short enough not to matter
 * to other processes. After a little spinning every look is followed by a yield: what we wait for may be a thread that
 * has to share this core with us, because there are more threads than processors or somebody else took one. */
enum { SPIN_NS = 3 * 1000, WAIT_NS = 100 * 1000 };

struct worker {
    struct threads *pool;
    pthread_t thread;
    int i;
};

struct threads {
    atomic_int n; /* falls when not all could be started */
    uint64_t spin_ns;
    bool quit;
    void (*fn)(void *arg, int i, int n);
    void *arg;
    struct worker *workers; /* n - 1: thread 0 is the caller */
    int n_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Alignas(64) atomic_int n_arrived;
    _Alignas(64) atomic_uint epoch; /* counts completed barriers */
    _Alignas(64) atomic_int n_asleep;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool changes_soon(const atomic_uint *epoch, unsigned seen, uint64_t spin_ns)
{
    uint64_t begin_ns = clock_ns(), spent_ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(epoch, memory_order_acquire) != seen) return true;
            relax();
        }
        spent_ns = clock_ns() - begin_ns;
        if (spent_ns >= spin_ns) sched_yield();
    } while (spent_ns < WAIT_NS);
    return false;
}

void threads_barrier(struct threads *threads)
{
    unsigned seen = atomic_load_explicit(&threads->epoch, memory_order_relaxed);
    if (atomic_fetch_add(&threads->n_arrived, 1) + 1 == atomic_load_explicit(&threads->n, memory_order_relaxed)) {
        atomic_store_explicit(&threads->n_arrived, 0, memory_order_relaxed);
        /* sequentially consistent with the sleeper's store to n_asleep: one of the two sees the other */
        atomic_store(&threads->epoch, seen + 1);
        if (atomic_load(&threads->n_asleep) > 0) {
            pthread_mutex_lock(&threads->lock);
            pthread_cond_broadcast(&threads->changed);
            pthread_mutex_unlock(&threads->lock);
        }
        return;
    }
    if (changes_soon(&threads->epoch, seen, threads->spin_ns)) return;
    pthread_mutex_lock(&threads->lock);
    atomic_fetch_add(&threads->n_asleep, 1);
    while (atomic_load(&threads->epoch) == seen)
        pthread_cond_wait(&threads->changed, &threads->lock);
    atomic_fetch_sub(&threads->n_asleep, 1);
    pthread_mutex_unlock(&threads->lock);
}

/* Keeps a worker on its memory node, where the pages that it touches first will lie. The caller's own thread stays
 * free: it is not ours to move. */
static void stay_on_node(const struct worker *worker)
{
#ifdef __linux__
    const struct topology *topology = topology_here();
    if (topology->n_nodes < 2) return;
    int node = topology_node_of(topology, worker->i, worker->pool->n);
    cpu_set_t near[TOPOLOGY_ID_MAX / CPU_SETSIZE];
    memset(near, 0, sizeof near);
    for (int i = 0; i < topology->n_processors; i++)
        if (topology->processors[i].node == node) CPU_SET_S((size_t)topology->processors[i].id, sizeof near, near);
    sched_setaffinity(0, sizeof near, near); /* refused: slower, not wrong */
#else
    (void)worker;
#endif
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct threads *pool = worker->pool;
    stay_on_node(worker);
    for (;;) {
        threads_barrier(pool);
        if (pool->quit) return NULL;
        pool->fn(pool->arg, worker->i, pool->n);
        threads_barrier(pool);
    }
}

void threads_run(struct threads *threads, void (*fn)(void *arg, int i, int n), void *arg)
{
    threads->fn = fn;
    threads->arg = arg;
    threads_barrier(threads);
    fn(arg, 0, threads->n);
    threads_barrier(threads);
}

void threads_block_signals(sigset_t *before)
{
    static const int kept[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sigdelset(&blocked, kept[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

void threads_restore_signals(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

void threads_wait_briefly(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    enum { BRIEFLY_NS = 50000000, SECOND_NS = 1000000000 };
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += BRIEFLY_NS;
    until.tv_sec += until.tv_nsec / SECOND_NS;
    until.tv_nsec %= SECOND_NS;
    pthread_cond_timedwait(changed, lock, &until);
}

/* 0, or an errno value; n_started says how far it came. */
static int start_workers(struct threads *pool)
{
    sigset_t before;
    int failed = 0;
    threads_block_signals(&before);
    for (int i = 1; i < pool->n && !failed; i++) {
        struct worker *worker = &pool->workers[i - 1];
        *worker = (struct worker){.pool = pool, .i = i};
        failed = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (!failed) pool->n_started++;
    }
    threads_restore_signals(&before);
    return failed;
}

/* No more than a CPU quota pays for. */
static int within_quota(int n)
{
    double quota = topology_here()->quota;
    return quota > 0 && quota < n ? (int)ceil(quota) : n;
}

static int usable_processors(void)
{
    return within_quota(topology_here()->n_processors);
}

int threads_default_count(void)
{
    int n = within_quota(topology_here()->n_fast_cores);
    return n < THREADS_MAX ? n : THREADS_MAX;
}

int threads_create(struct threads **threads, int n, struct stile_error *error)
{
    if (n < 1 || n > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%d threads: must be 1 to %d", n, THREADS_MAX);
    struct threads *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool) return error_memory(error, sizeof *pool, "a thread pool");
    memset(pool, 0, sizeof *pool);
    pool->n = n;
    pool->spin_ns = n <= usable_processors() ? SPIN_NS : 0;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pool->workers = calloc((size_t)n, sizeof *pool->workers);
    if (!pool->workers) {
        threads_free(pool);
        return error_memory(error, (size_t)n * sizeof *pool->workers, "a thread pool");
    }
    int failed = start_workers(pool);
    if (failed) {
        int n_running = pool->n_started + 1;
        pool->n = n_running; /* the barrier now waits for those that did start */
        threads_free(pool);
        return error_set(error, STILE_ERROR_MEMORY, "thread %d of %d could not be started: %s (ask for fewer threads)",
                         n_running + 1, n, strerror(failed));
    }
    *threads = pool;
    return 0;
}

void threads_free(struct threads *threads)
{
    if (!threads) return;
    if (threads->n_started > 0) {
        threads->quit = true;
        threads_barrier(threads);
        for (int i = 0; i < threads->n_started; i++)
            pthread_join(threads->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&threads->changed);
    pthread_mutex_destroy(&threads->lock);
    free(threads->workers);
    free(threads);
}

int threads_count(const struct threads *threads)
{
    return threads->n;
}
