/* Rings that fail: functions of liburing are replaced here by ones that refuse, that report less than what came, or that
 * stop working; and the kernel itself refuses. All bytes come, or an error does. */
#ifdef __linux__
#include "file/reader.h"

#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 3 * 1024 * 1024 + 1234, N_READS = 24 };

static char path[] = "/tmp/stile_test_ring_XXXXXX";
static uint8_t *content;

/* ---- what fails -------------------------------------------------------------------------------- */

static struct {
    bool no_ring;        /* none can be made */
    int good;            /* calls that work before the others begin; -1: all do */
    int refused;         /* then so many return `code`; */
    int code;            /* 0: do nothing, as if interrupted */
    bool begins;         /* what they refuse is begun all the same */
    unsigned shortened;  /* every so-manieth read comes in parts; 0: none */
    unsigned failing;    /* every so-manieth has an error of `failure`, once for each */
    int failure;         /* negative errno */
    bool broken_wake_up; /* the ring cannot be woken up */
} fault;

static int n_calls, n_results, n_late;

static void reset(void)
{
    memset(&fault, 0, sizeof fault);
    fault.good = -1;
    n_calls = n_results = 0;
}

static void spoil(struct io_uring_cqe *cqe)
{
    if (io_uring_cqe_get_data(cqe) == NULL) {
        if (fault.broken_wake_up) cqe->res = -EINVAL;
        return;
    }
    n_results++;
    if (fault.failing && (unsigned)n_results % fault.failing == 0)
        cqe->res = fault.failure;
    else if (fault.shortened && (unsigned)n_results % fault.shortened == 0 && cqe->res > READER_ALIGNMENT)
        cqe->res = cqe->res / 2 / READER_ALIGNMENT * READER_ALIGNMENT;
}

/* A function of the library that the one here stands for. */
static void find(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

int io_uring_queue_init(unsigned n, struct io_uring *ring, unsigned flags)
{
    int (*real)(unsigned, struct io_uring *, unsigned);
    find("io_uring_queue_init", &real);
    return fault.no_ring ? -EPERM : real(n, ring, flags);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int (*real)(struct io_uring *, unsigned);
    find("io_uring_submit_and_wait", &real);
    bool bad = fault.good >= 0 && n_calls >= fault.good && n_calls < fault.good + fault.refused;
    n_calls++;
    if (bad && fault.begins) io_uring_submit(ring);
    if (bad) return fault.code;
    int result = real(ring, wait_nr);
    unsigned seen = *ring->cq.khead, tail = io_uring_smp_load_acquire(ring->cq.ktail);
    for (; seen != tail; seen++)
        spoil(&ring->cq.cqes[seen & *ring->cq.kring_mask]);
    return result;
}

/* No read may end after its ring: it would write to memory that is somebody else's by then. */
void io_uring_queue_exit(struct io_uring *ring)
{
    void (*real)(struct io_uring *);
    find("io_uring_queue_exit", &real);
    usleep(2000);
    unsigned seen = *ring->cq.khead, tail = io_uring_smp_load_acquire(ring->cq.ktail);
    for (; seen != tail; seen++)
        n_late += io_uring_cqe_get_data(&ring->cq.cqes[seen & *ring->cq.kring_mask]) != NULL;
    real(ring);
}

/* ---- reading ----------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int setup(void **state)
{
    (void)state;
    int file = mkstemp(path);
    content = malloc(SIZE);
    uint32_t random = 1;
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (uint8_t)next_random(&random);
    bool ok = file >= 0 && write(file, content, SIZE) == SIZE;
    close(file);
    return ok ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(content);
    return unlink(path);
}

static struct reader *reader_of(enum reader_way way)
{
    const struct reader_options options = {.way = way, .n_in_flight = 5, .chunk_bytes = 64 << 10};
    struct reader *reader = NULL;
    struct stile_error error;
    if (reader_create(&reader, &options, &error) || reader_add_file(reader, path, &error))
        fail_msg("%s", error.message);
    return reader;
}

/* Many reads at once; returns how many failed. What did not has the right bytes. */
static int read_much(struct reader *reader)
{
    struct reader_read reads[N_READS];
    int n_failed = 0;
    uint32_t random = 5;
    for (int i = 0; i < N_READS; i++) {
        uint64_t offset = next_random(&random) % (SIZE - 1);
        reads[i] = (struct reader_read){.offset = offset, .size_bytes = 1 + next_random(&random) % (SIZE - offset)};
        reads[i].buffer = aligned_alloc(READER_ALIGNMENT, reader_buffer_bytes(reads[i].size_bytes));
        reader_start(reader, &reads[i]);
    }
    for (int i = 0; i < N_READS; i++) {
        struct stile_error error;
        if (reader_wait(reader, &reads[i], &error) != 0) {
            n_failed++;
            assert_int_equal(error.code, STILE_ERROR_IO);
            assert_non_null(strstr(error.message, path));
            assert_non_null(strstr(error.message, strerror(-fault.failure)));
        } else {
            assert_memory_equal(reader_data(&reads[i]), content + reads[i].offset, reads[i].size_bytes);
        }
        free(reads[i].buffer);
    }
    return n_failed;
}

/* With a fault, and after it; returns how many reads failed during it. */
static int read_with_fault(const char *mechanism)
{
    int n_failed = 0;
    for (int way = READER_DIRECT; way <= READER_CACHED; way++) {
        n_calls = n_results = 0;
        struct reader *reader = reader_of((enum reader_way)way);
        n_failed += read_much(reader);
        assert_string_equal(reader_mechanism(reader), mechanism);
        unsigned failing = fault.failing;
        fault.failing = 0;
        assert_int_equal(read_much(reader), 0);
        fault.failing = failing;
        reader_free(reader);
        assert_int_equal(n_late, 0);
    }
    return n_failed;
}

static bool has_rings(void)
{
    struct io_uring ring;
    if (io_uring_queue_init(4, &ring, 0) != 0) return false;
    io_uring_queue_exit(&ring);
    return true;
}

static void no_ring_at_all(void **state)
{
    (void)state;
    reset();
    fault.no_ring = true;
    assert_int_equal(read_with_fault("threads"), 0);
}

static void refused_for_a_while(void **state)
{
    (void)state;
    static const int codes[] = {-EAGAIN, -EBUSY, -ENOMEM, -EINTR};
    reset();
    if (!has_rings()) skip();
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fault.good = (int)i * 3;
        fault.refused = 30;
        fault.code = codes[i];
        assert_int_equal(read_with_fault("io_uring"), 0);
    }
}

/* From the first call on, or in the midst of reads, of which some may have been begun. */
static void refused_for_good(void **state)
{
    (void)state;
    static const int codes[] = {-EPERM, -ENOSYS, -EBADF, -EAGAIN};
    reset();
    if (!has_rings()) skip();
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        for (int good = 0; good < 24; good += 7) {
            fault.good = good;
            fault.refused = 1 << 30;
            fault.code = codes[i];
            fault.begins = good % 2;
            assert_int_equal(read_with_fault("threads"), 0);
            if (codes[i] == -EAGAIN) break; /* tried for a while */
        }
    }
}

static void reads_in_parts(void **state)
{
    (void)state;
    reset();
    if (!has_rings()) skip();
    fault.shortened = 2;
    assert_int_equal(read_with_fault("io_uring"), 0);
    /* the ring fails when parts are missing */
    fault.good = 20;
    fault.refused = 1 << 30;
    fault.code = -EPERM;
    fault.begins = true;
    assert_int_equal(read_with_fault("threads"), 0);
}

static void reads_that_fail(void **state)
{
    (void)state;
    reset();
    if (!has_rings()) skip();
    fault.failing = 40;
    fault.failure = -EIO;
    assert_in_range(read_with_fault("io_uring"), 1, 2 * N_READS - 1);
    fault.failing = 3;
    fault.failure = -EAGAIN; /* is tried again */
    assert_int_equal(read_with_fault("io_uring"), 0);
}

static void no_wake_up(void **state)
{
    (void)state;
    reset();
    if (!has_rings()) skip();
    fault.broken_wake_up = true;
    assert_int_equal(read_with_fault("threads"), 0);
}

/* Freed while the ring is refused: nothing may hang. */
static void freed_early(void **state)
{
    (void)state;
    reset();
    if (!has_rings()) skip();
    for (int i = 0; i < 8; i++) {
        struct reader_read reads[4];
        n_calls = 0;
        fault.good = i;
        fault.refused = 1 << 30;
        fault.code = i % 2 ? -EPERM : -EAGAIN;
        fault.begins = i % 4 < 2;
        struct reader *reader = reader_of(READER_DIRECT);
        for (int k = 0; k < 4; k++) {
            reads[k] = (struct reader_read){.size_bytes = SIZE};
            reads[k].buffer = aligned_alloc(READER_ALIGNMENT, reader_buffer_bytes(SIZE));
            reader_start(reader, &reads[k]);
        }
        usleep((unsigned)i * 200);
        assert_true(reader_stop(reader));
        reader_free(reader);
        for (int k = 0; k < 4; k++)
            free(reads[k].buffer);
        assert_int_equal(n_late, 0);
    }
}

/* From now on the kernel refuses all threads of this process. */
static bool forbid_rings(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

static void forbidden_meanwhile(void **state)
{
    (void)state;
    enum { GOOD, BAD, CANNOT };
    int status;
    reset();
    if (!has_rings()) skip();
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        struct reader *reader = reader_of(READER_FASTEST);
        bool good = read_much(reader) == 0 && strcmp(reader_mechanism(reader), "io_uring") == 0;
        if (!forbid_rings()) _exit(CANNOT);
        good &= read_much(reader) == 0 && strcmp(reader_mechanism(reader), "threads") == 0;
        reader_free(reader);
        _exit(good ? GOOD : BAD);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_ring_at_all), cmocka_unit_test(refused_for_a_while), cmocka_unit_test(refused_for_good),
        cmocka_unit_test(reads_in_parts), cmocka_unit_test(reads_that_fail),     cmocka_unit_test(no_wake_up),
        cmocka_unit_test(freed_early),    cmocka_unit_test(forbidden_meanwhile),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

#else

int main(void)
{
    return 0;
}

#endif
