/* reader_private.h - what reader.c and reader_uring.c share. */
#ifndef STILE_FILE_READER_PRIVATE_H
#define STILE_FILE_READER_PRIVATE_H

#include "file/reader.h"

#include <pthread.h>

enum { READER_TRUNCATED = -1 };

struct reader_file {
    char *path;
    int fds[2]; /* by enum reader_way; -1: not opened in this way */
};

/* A part of a read that goes to the kernel at once. */
struct reader_chunk {
    struct reader_read *read;
    int fd;
    enum reader_way way;
    char *to;
    uint64_t offset;
    size_t size_bytes;   /* asked for: aligned, so it may reach past the end of the file */
    size_t needed_bytes; /* of these, that must come */
    size_t got_bytes;
    int failed;
};

struct reader_uring;

/* READER_FASTEST: the disk's rate is taken over windows of so many bytes, in one way each. */
struct reader_ways {
    enum reader_way now;
    uint64_t skipped_bytes;                /* since the change to this way: such reads were begun in the other */
    uint64_t window_bytes, window_busy_ns; /* read in this window; when it began */
    double rates[2];    /* bytes per second, less what their use of the processor is worth; 0: not known */
    unsigned n_windows; /* since the other way was tried */
};

/* Reads with chunks that are not begun. */
struct reader_queue {
    struct reader_read *first, *last;
};

struct reader {
    struct reader_options options;
    struct reader_file *files;
    int n_files;
    pthread_mutex_t lock; /* over all that follows, and the reads */
    pthread_cond_t work, done;
    struct reader_queue needed, idle;
    int n_chunks;       /* under way */
    uint64_t needed_ns; /* when a chunk that is not idle was last begun */
    size_t n_reads;     /* started and not done */
    uint64_t busy_since_ns;
    struct reader_stats stats;
    struct reader_ways ways;
    bool stop;
    struct reader_uring *uring; /* NULL: threads read */
    atomic_bool uring_failed;   /* threads read now */
    pthread_t threads[READER_IN_FLIGHT_MAX];
    int n_threads;
    int n_running; /* of these, under the lock */
    bool stopped;  /* reader_stop has been called; `hangs` is what came of it */
    bool hangs;
};

/* The next chunk to begin, under the lock; false: there is none. */
bool reader_take(struct reader *reader, struct reader_chunk *chunk);
/* Counts what one system call brought (errno in `error` where it is negative); true: the chunk is complete, or failed. */
bool reader_chunk_advance(struct reader_chunk *chunk, ssize_t result, int error);
void reader_finish(struct reader *reader, const struct reader_chunk *chunk);
/* All of that in this thread, for what is left of a chunk. */
void reader_read_chunk(struct reader *reader, struct reader_chunk *chunk);

/* NULL where io_uring may not be used. */
struct reader_uring *reader_uring_create(int n_in_flight);
void reader_uring_free(struct reader_uring *uring);
/* There is new work, or it is time to stop. */
void reader_uring_wake(struct reader_uring *uring);
/* Reads through the ring until it is time to stop. False: the ring is of no use any more, and has no chunks. */
bool reader_uring_run(struct reader *reader);

#endif
