/* reader_uring.c - one thread that keeps n chunks in flight through io_uring. */
#include "file/reader_private.h"

#include <stdlib.h>

#ifdef __linux__

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct reader_uring {
    struct io_uring ring;
    int wake; /* an eventfd that the ring always has a read on */
    uint64_t wake_count;
    int n_in_flight;
    int n_refused;               /* times in a row that the kernel would not have what is prepared */
    unsigned n_prepared;         /* entries of the ring so far */
    bool closed;                 /* the ring is */
    struct reader_chunk *chunks; /* (n_in_flight) */
    unsigned *entries;           /* (n_in_flight) the last one of each, counted from 1 */
    bool *used;
};

enum { REFUSED_MAX = 500 /* about a second */ };

/* Linux before 5.6 has rings that cannot do plain reads. */
static bool can_read(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool can = probe && io_uring_opcode_supported(probe, IORING_OP_READ);
    io_uring_free_probe(probe);
    return can;
}

struct reader_uring *reader_uring_create(int n_in_flight)
{
    struct reader_uring *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    u->n_in_flight = n_in_flight;
    u->chunks = calloc((size_t)n_in_flight, sizeof *u->chunks);
    u->entries = calloc((size_t)n_in_flight, sizeof *u->entries);
    u->used = calloc((size_t)n_in_flight, sizeof *u->used);
    u->wake = eventfd(0, EFD_CLOEXEC);
    bool ok = u->chunks && u->entries && u->used && u->wake >= 0;
    if (ok && io_uring_queue_init((unsigned)n_in_flight + 1, &u->ring, 0) == 0) {
        if (can_read(&u->ring)) return u;
        io_uring_queue_exit(&u->ring);
    }
    u->closed = true;
    reader_uring_free(u);
    return NULL;
}

void reader_uring_free(struct reader_uring *uring)
{
    if (!uring) return;
    if (!uring->closed) io_uring_queue_exit(&uring->ring);
    if (uring->wake >= 0) close(uring->wake);
    free(uring->used);
    free(uring->entries);
    free(uring->chunks);
    free(uring);
}

void reader_uring_wake(struct reader_uring *uring)
{
    uint64_t one = 1;
    /* The counter cannot overflow, so this cannot fail. */
    if (write(uring->wake, &one, sizeof one) < 0) return;
}

/* The ring has an entry for every chunk and one for the wake-up: there is always room. Chunks are begun by threads of the
 * kernel: where the buffer is new, its pages are found and cleared then, which can take longer than the disk does (in a
 * virtual machine whose host has to find them first, five times as long), and one thread would do it for one after the
 * other. */
static void submit_chunk(struct reader_uring *u, struct reader_chunk *chunk)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, chunk->fd, chunk->to + chunk->got_bytes, (unsigned)(chunk->size_bytes - chunk->got_bytes),
                       chunk->offset + chunk->got_bytes);
    io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
    io_uring_sqe_set_data(sqe, chunk);
    u->entries[chunk - u->chunks] = ++u->n_prepared;
}

static void submit_wake(struct reader_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, u->wake, &u->wake_count, sizeof u->wake_count, 0);
    io_uring_sqe_set_data(sqe, NULL);
    u->n_prepared++;
}

/* Begins chunks while there are any and there is room; returns how many are in flight; *stop: no more will come. */
static int begin_chunks(struct reader *reader, bool *stop)
{
    struct reader_uring *u = reader->uring;
    int n = 0;
    pthread_mutex_lock(&reader->lock);
    *stop = reader->stop;
    for (int i = 0; i < u->n_in_flight; i++) {
        if (!u->used[i] && !*stop && reader_take(reader, &u->chunks[i])) {
            u->used[i] = true;
            submit_chunk(u, &u->chunks[i]);
        }
        n += u->used[i];
    }
    pthread_mutex_unlock(&reader->lock);
    return n;
}

/* Hands over what is prepared and waits for something to end. False: the kernel will not have it, and will not later. */
static bool submit_and_wait(struct reader_uring *u)
{
    int result = io_uring_submit_and_wait(&u->ring, 1);
    if (result >= 0 || result == -EINTR) {
        u->n_refused = 0;
        return true;
    }
    if (result != -EAGAIN && result != -EBUSY && result != -ENOMEM) return false;
    usleep(1000); /* there is no memory at the moment, or too much has ended: that is looked at next */
    return ++u->n_refused < REFUSED_MAX;
}

/* Looks at what has ended. False: the ring does not say any more when there is work. */
static bool take_ended(struct reader *reader, bool again)
{
    struct reader_uring *u = reader->uring;
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct reader_chunk *chunk = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        if (!chunk) {
            if (result < 0 && result != -EINTR && result != -EAGAIN) return false;
            if (again) submit_wake(u);
        } else if (reader_chunk_advance(chunk, result, -result)) {
            reader_finish(reader, chunk);
            u->used[chunk - u->chunks] = false;
        } else if (again) {
            submit_chunk(u, chunk);
        } else {
            u->entries[chunk - u->chunks] = u->n_prepared; /* the rest of it is not under way */
        }
    }
    return true;
}

/* Waits for what the kernel has begun, for it writes to buffers, and reads the rest of what was taken without the ring. */
static void give_up(struct reader *reader)
{
    struct reader_uring *u = reader->uring;
    unsigned n_begun = u->n_prepared - io_uring_sq_ready(&u->ring);
    u->n_prepared = n_begun + 1; /* none is after this */
    for (int i = 0; i < u->n_in_flight; i++) {
        while (u->used[i] && u->entries[i] <= n_begun) {
            take_ended(reader, false);
            usleep(1000);
        }
        if (u->used[i]) reader_read_chunk(reader, &u->chunks[i]);
    }
    io_uring_queue_exit(&u->ring);
    u->closed = true;
}

bool reader_uring_run(struct reader *reader)
{
    struct reader_uring *u = reader->uring;
    bool stop = false;
    submit_wake(u);
    while (begin_chunks(reader, &stop) > 0 || !stop) {
        if (submit_and_wait(u) && take_ended(reader, true)) continue;
        give_up(reader);
        return false;
    }
    return true;
}

#else

struct reader_uring *reader_uring_create(int n_in_flight)
{
    (void)n_in_flight;
    return NULL;
}

void reader_uring_free(struct reader_uring *uring)
{
    (void)uring;
}

void reader_uring_wake(struct reader_uring *uring)
{
    (void)uring;
}

bool reader_uring_run(struct reader *reader)
{
    return !reader;
}

#endif
