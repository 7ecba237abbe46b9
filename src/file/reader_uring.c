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
    bool closed;                 /* the ring is */
    struct reader_chunk *chunks; /* (n_in_flight) */
    bool *used;
};

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
    u->used = calloc((size_t)n_in_flight, sizeof *u->used);
    u->wake = eventfd(0, EFD_CLOEXEC);
    bool ok = u->chunks && u->used && u->wake >= 0;
    if (ok && io_uring_queue_init((unsigned)n_in_flight + 1, &u->ring, 0) == 0) {
        if (can_read(&u->ring)) return u;
        io_uring_queue_exit(&u->ring);
    }
    if (u->wake >= 0) close(u->wake);
    free(u->used);
    free(u->chunks);
    free(u);
    return NULL;
}

void reader_uring_free(struct reader_uring *uring)
{
    if (!uring) return;
    if (!uring->closed) io_uring_queue_exit(&uring->ring);
    close(uring->wake);
    free(uring->used);
    free(uring->chunks);
    free(uring);
}

void reader_uring_wake(struct reader_uring *uring)
{
    uint64_t one = 1;
    /* The counter cannot overflow, so this cannot fail. */
    if (write(uring->wake, &one, sizeof one) < 0) return;
}

/* The ring has an entry for every chunk and one for the wake-up: there is always room. */
static void submit_chunk(struct reader_uring *u, struct reader_chunk *chunk)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, chunk->fd, chunk->to + chunk->got_bytes, (unsigned)(chunk->size_bytes - chunk->got_bytes),
                       chunk->offset + chunk->got_bytes);
    io_uring_sqe_set_data(sqe, chunk);
}

static void submit_wake(struct reader_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, u->wake, &u->wake_count, sizeof u->wake_count, 0);
    io_uring_sqe_set_data(sqe, NULL);
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
    if (result >= 0 || result == -EINTR) return true;
    if (result != -EAGAIN && result != -EBUSY && result != -ENOMEM) return false;
    usleep(1000); /* there is no memory at the moment, or too much has ended: that is looked at next */
    return true;
}

/* Closes the ring, which ends what is under way, and lets all its reads fail. */
static void give_up(struct reader *reader)
{
    struct reader_uring *u = reader->uring;
    io_uring_queue_exit(&u->ring);
    u->closed = true;
    for (int i = 0; i < u->n_in_flight; i++) {
        if (!u->used[i]) continue;
        u->chunks[i].failed = EIO;
        reader_finish(reader, &u->chunks[i]);
    }
}

bool reader_uring_run(struct reader *reader)
{
    struct reader_uring *u = reader->uring;
    bool stop = false;
    submit_wake(u);
    while (begin_chunks(reader, &stop) > 0 || !stop) {
        struct io_uring_cqe *cqe;
        if (!submit_and_wait(u)) {
            give_up(reader);
            return false;
        }
        while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
            struct reader_chunk *chunk = io_uring_cqe_get_data(cqe);
            int result = cqe->res;
            io_uring_cqe_seen(&u->ring, cqe);
            if (!chunk) {
                submit_wake(u);
            } else if (reader_chunk_advance(chunk, result, -result)) {
                reader_finish(reader, chunk);
                u->used[chunk - u->chunks] = false;
            } else {
                submit_chunk(u, chunk);
            }
        }
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
