/* The pool of threads: everyone runs, barriers hold, with fewer and with more threads than processors; the split. */
#include "base/threads.h"

#ifdef __linux__
#include <sched.h>
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Sanitizers need more address space than the test of failing starts leaves. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { COUNT_MAX = THREADS_MAX };

/* Few, some, and many more than there are processors. */
static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 12, 16, 33, 64, 100, THREADS_MAX};
enum { N_COUNTS = sizeof counts / sizeof counts[0] };

static struct threads *create(int n)
{
    struct threads *threads = NULL;
    struct stile_error error;
    assert_int_equal(threads_create(&threads, n, &error), STILE_OK);
    assert_int_equal(threads_count(threads), n);
    return threads;
}

/* What the threads share is plain memory on purpose: only the pool's own ordering makes it safe, and the thread
 * sanitizer sees it when that is missing. Asserts are the main thread's business, so work counts what it finds wrong.
 */
struct shared {
    struct threads *threads;
    int n;
    int n_barriers;
    unsigned long value[COUNT_MAX];
    long wrong[COUNT_MAX];
    long n_runs[COUNT_MAX];
};

static void count_run(void *arg, int i, int n)
{
    struct shared *shared = arg;
    shared->n_runs[i]++;
    if (n != shared->n) shared->wrong[i]++;
}

static void every_thread_runs_once_per_run(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_COUNTS; c++) {
        const int n = counts[c], n_runs = n <= 2 ? 2000 : n <= 16 ? 60 : 10;
        struct shared shared = {.threads = create(n), .n = n};
        for (int run = 1; run <= n_runs; run++) {
            threads_run(shared.threads, count_run, &shared);
            for (int i = 0; i < COUNT_MAX; i++)
                assert_int_equal(shared.n_runs[i], i < n ? run : 0); /* all are done when threads_run returns */
        }
        for (int i = 0; i < n; i++)
            assert_int_equal(shared.wrong[i], 0);
        threads_free(shared.threads);
    }
}

/* In each step every thread writes its own value and, after a barrier, reads all the others'. */
static void step_and_look(void *arg, int i, int n)
{
    struct shared *shared = arg;
    for (int step = 0; step < shared->n_barriers; step++) {
        shared->value[i] = shared->value[i] * 3 + (unsigned long)step;
        threads_barrier(shared->threads);
        for (int j = 0; j < n; j++)
            if (shared->value[j] != shared->value[i]) shared->wrong[i]++;
        threads_barrier(shared->threads);
    }
}

static void barriers_hold(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_COUNTS; c++) {
        const int n = counts[c];
        struct shared shared = {.threads = create(n), .n = n, .n_barriers = n <= 2 ? 300 : n <= 16 ? 20 : 3};
        for (int run = 0; run < 10; run++) {
            memset(shared.value, 0, sizeof shared.value);
            threads_run(shared.threads, step_and_look, &shared);
        }
        for (int i = 0; i < n; i++)
            assert_int_equal(shared.wrong[i], 0);
        threads_free(shared.threads);
    }
}

/* Threads that come late by more than the time for which the others spin: those must sleep, and wake up again. */
static void come_late(void *arg, int i, int n)
{
    struct shared *shared = arg;
    for (int step = 0; step < shared->n_barriers; step++) {
        if (step % n == i) nanosleep(&(struct timespec){.tv_nsec = (step % 3) * 1000000L}, NULL);
        shared->value[i]++;
        threads_barrier(shared->threads);
        for (int j = 0; j < n; j++)
            if (shared->value[j] != (unsigned long)step + 1) shared->wrong[i]++;
        threads_barrier(shared->threads);
    }
}

static void sleepers_wake_up(void **state)
{
    (void)state;
    static const int late[] = {2, 3, 16};
    for (size_t c = 0; c < sizeof late / sizeof late[0]; c++) {
        const int n = late[c];
        struct shared shared = {.threads = create(n), .n = n, .n_barriers = 60};
        threads_run(shared.threads, come_late, &shared);
        for (int i = 0; i < n; i++)
            assert_int_equal(shared.wrong[i], 0);
        /* and between runs, when all workers wait for work */
        nanosleep(&(struct timespec){.tv_nsec = 2000000L}, NULL);
        threads_run(shared.threads, count_run, &shared);
        for (int i = 0; i < n; i++)
            assert_int_equal(shared.n_runs[i], 1);
        threads_free(shared.threads);
    }
}

/* Waiting costs no processor time after a while. */
static void idle_threads_do_not_burn(void **state)
{
    (void)state;
    struct threads *threads = create(2);
    struct timespec before, after;
    nanosleep(&(struct timespec){.tv_nsec = 20000000L}, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&(struct timespec){.tv_nsec = 200000000L}, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double burnt_s = (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
    assert_true(burnt_s < 0.1);
    threads_free(threads);
}

#ifdef __linux__
/* Somebody else may take a core: two threads then share one. A thread that waits must not keep the other from running. */
static void sharing_a_core_is_not_waiting(void **state)
{
    (void)state;
    cpu_set_t before, one;
    enum { N_RUNS = 500 };
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    if (CPU_COUNT(&before) < 2) skip();
    struct shared shared = {.n = 2};
    double best_s = 1e9;
    for (int i = 0; i < 5; i++) {
        threads_default_count(); /* looks at the processors while there are two */
        int first = 0;
        while (!CPU_ISSET((size_t)first, &before))
            first++;
        CPU_ZERO(&one);
        CPU_SET((size_t)first, &one);
        assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
        shared.threads = create(2);
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int run = 0; run < N_RUNS; run++)
            threads_run(shared.threads, count_run, &shared);
        clock_gettime(CLOCK_MONOTONIC, &end);
        threads_free(shared.threads);
        double s = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        if (s < best_s) best_s = s;
    }
    sched_setaffinity(0, sizeof before, &before);
    assert_int_equal(shared.wrong[0] + shared.wrong[1], 0);
    assert_true(best_s < N_RUNS * 100e-6); /* two barriers each; waiting out the spinning would take 100 us for each */
}
#endif

static void two_pools_do_not_meet(void **state)
{
    (void)state;
    struct shared a = {.threads = create(3), .n = 3, .n_barriers = 50};
    struct shared b = {.threads = create(5), .n = 5, .n_barriers = 70};
    for (int run = 0; run < 20; run++) {
        memset(a.value, 0, sizeof a.value);
        memset(b.value, 0, sizeof b.value);
        threads_run(a.threads, step_and_look, &a);
        threads_run(b.threads, step_and_look, &b);
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(a.wrong[i] + b.wrong[i], 0);
    threads_free(a.threads);
    threads_free(b.threads);
}

static void count_is_checked(void **state)
{
    (void)state;
    static const int wrong[] = {0, -1, THREADS_MAX + 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct threads *threads = NULL;
        struct stile_error error = {0};
        assert_int_equal(threads_create(&threads, wrong[i], &error), STILE_ERROR_ARGUMENT);
        assert_int_equal(error.code, STILE_ERROR_ARGUMENT);
        assert_null(threads);
    }
    threads_free(NULL);
    threads_free(create(1));
    threads_free(create(THREADS_MAX));
    int n = threads_default_count();
    assert_in_range(n, 1, THREADS_MAX);
    assert_true(n <= sysconf(_SC_NPROCESSORS_CONF));
}

/* In a child, because the limit cannot be raised again by everyone. */
static void a_start_that_fails_is_an_error(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct threads *threads = NULL;
        struct stile_error error = {0};
        alarm(20);                                                            /* a hang is a failure too */
        struct rlimit limit = {.rlim_cur = 100 << 20, .rlim_max = 100 << 20}; /* room for about ten stacks */
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
        int code = threads_create(&threads, THREADS_MAX, &error);
        bool told = strstr(error.message, "of 256 could not be started") != NULL;
        _exit(code == STILE_ERROR_MEMORY && error.code == code && !threads && told ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void split_covers_everything_once(void **state)
{
    (void)state;
    static const size_t grains[] = {1, 2, 8, 16, 64};
    for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
        for (size_t n = 0; n < 300; n++) {
            for (int n_threads = 1; n_threads <= 20; n_threads++) {
                size_t at = 0, smallest = SIZE_MAX, largest = 0;
                for (int i = 0; i < n_threads; i++) {
                    size_t begin, end;
                    threads_split(n, grains[g], i, n_threads, &begin, &end);
                    assert_int_equal(begin, at);
                    assert_true(end >= begin && end <= n);
                    assert_true(end == n || end % grains[g] == 0);
                    size_t chunks = (end - begin + grains[g] - 1) / grains[g];
                    smallest = chunks < smallest ? chunks : smallest;
                    largest = chunks > largest ? chunks : largest;
                    at = end;
                }
                assert_int_equal(at, n);
                assert_true(largest - smallest <= 1); /* fair */
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_once_per_run),
        cmocka_unit_test(barriers_hold),
        cmocka_unit_test(sleepers_wake_up),
        cmocka_unit_test(idle_threads_do_not_burn),
#ifdef __linux__
        cmocka_unit_test(sharing_a_core_is_not_waiting),
#endif
        cmocka_unit_test(two_pools_do_not_meet),
        cmocka_unit_test(count_is_checked),
        cmocka_unit_test(a_start_that_fails_is_an_error),
        cmocka_unit_test(split_covers_everything_once),
    };
    alarm(120); /* threads that wait for ever fail too */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
