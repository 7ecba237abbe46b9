/* fault_layer.c - a shared object that makes a program's disk and kernel fail; for LD_PRELOAD, by tests/faults.py.
 *
 *   STILE_FAULT_READS=N    of a million reads, N fail with EIO, and as many come in parts or are told to try again
 *   STILE_FAULT_RING=N     from its call N on, the kernel refuses the io_uring
 *   STILE_FAULT_SEED=N
 */
#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static atomic_ulong n_random;
static atomic_long n_calls;

static long option(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

/* 0 to 999999 */
static unsigned draw(void)
{
    unsigned long n = atomic_fetch_add(&n_random, 1) + 1000003ul * (unsigned long)option("STILE_FAULT_SEED", 0);
    n = (n ^ (n >> 31)) * 0x9e3779b97f4a7c15ul;
    return (unsigned)((n >> 33) % 1000000);
}

/* What becomes of so many bytes that were read, or a negative errno. */
static long spoil(long result)
{
    unsigned rate = (unsigned)option("STILE_FAULT_READS", 0), n = draw();
    if (n < rate) return -EIO;
    if (n < rate + rate / 2) return -EINTR;
    return n < 2 * rate && result > BLOCK ? result / 2 / BLOCK * BLOCK : result;
}

static void find(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

ssize_t pread(int fd, void *to, size_t size_bytes, off_t offset)
{
    ssize_t (*real)(int, void *, size_t, off_t);
    find("pread", &real);
    long result = real(fd, to, size_bytes, offset);
    if (result > 0) result = spoil(result);
    if (result >= -1) return result;
    errno = (int)-result;
    return -1;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int (*real)(struct io_uring *, unsigned);
    find("io_uring_submit_and_wait", &real);
    long refused_from = option("STILE_FAULT_RING", -1);
    if (refused_from >= 0 && atomic_fetch_add(&n_calls, 1) >= refused_from) return -EPERM;
    int result = real(ring, wait_nr);
    unsigned seen = *ring->cq.khead, tail = io_uring_smp_load_acquire(ring->cq.ktail);
    for (; seen != tail; seen++) {
        struct io_uring_cqe *cqe = &ring->cq.cqes[seen & *ring->cq.kring_mask];
        if (io_uring_cqe_get_data(cqe) && cqe->res > 0) cqe->res = (int)spoil(cqe->res);
    }
    return result;
}
