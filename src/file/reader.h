/* reader.h - reads parts of files in the background, many chunks at a time.
 *
 * For weights that do not fit into memory: the caller says early what it will need, computes, and waits only where it
 * must. Reads go past the page cache where the file system allows it (READER_DIRECT), or through it, leaving nothing
 * behind (READER_CACHED). Which is faster differs from disk to disk: READER_FASTEST tries both at first, and now and then
 * again. Chunks are handed to the kernel by io_uring where it may be used and as long as it works, else by threads.
 * Reads are begun in the order of reader_start, but those that are only perhaps needed (`idle`) when no other waits, and
 * few at a time, so that those that come meanwhile are not held up.
 *
 * Any thread may start a read, or wait for one.
 */
#ifndef STILE_FILE_READER_H
#define STILE_FILE_READER_H

#include "base/error.h"

#include <stdatomic.h>
#include <sys/types.h>

enum reader_way { READER_DIRECT, READER_CACHED, READER_FASTEST };

enum { READER_ALIGNMENT = 4096, READER_IN_FLIGHT_MAX = 64 };

struct reader_options {
    enum reader_way way;
    int n_in_flight;    /* chunks on their way at once, 1 to READER_IN_FLIGHT_MAX; 0: 16 */
    size_t chunk_bytes; /* a multiple of READER_ALIGNMENT; 0: 2 MiB */
    bool threads;       /* do not use io_uring */
    int patience_ms;    /* of reader_stop; 0: 3 s */
    /* Stands for pread, with threads: how tests make disks fail. NULL: pread. */
    ssize_t (*pread)(int fd, void *to, size_t size_bytes, off_t offset);
};

/* A read under way; the caller's, until reader_wait has returned. */
struct reader_read {
    int file; /* as reader_add_file numbered it */
    uint64_t offset;
    size_t size_bytes;
    void *buffer; /* aligned to READER_ALIGNMENT, reader_buffer_bytes long */
    bool idle;    /* begin it when nothing else is to be begun */
    /* private: */
    uint64_t next, end; /* of the aligned range: where the next chunk begins; where it ends */
    size_t n_pending;   /* chunks that were begun and have not ended */
    int failed;         /* errno, or READER_TRUNCATED */
    atomic_bool done;
    struct reader_read *after;
};

struct reader_stats {
    uint64_t read_bytes; /* that came from files, alignment included */
    uint64_t busy_ns;    /* during which at least one read was under way */
    enum reader_way way; /* now: DIRECT or CACHED */
};

struct reader;

int reader_create(struct reader **reader, const struct reader_options *options, struct stile_error *error);
/* Begins nothing more, and waits for what is under way, with patience. False: the disk hangs; it may still write to the
 * buffers and to the reads, so that neither may be freed any more. */
bool reader_stop(struct reader *reader);
/* Stops; where the disk hangs, what its threads still need is left to them. */
void reader_free(struct reader *reader);
/* Opens a file; returns its number, or a negative code. Not while reads are under way. */
int reader_add_file(struct reader *reader, const char *path, struct stile_error *error);
/* Does the file allow READER_DIRECT? Where not, it is read through the page cache. */
bool reader_is_direct(const struct reader *reader, int file);
/* Is it the one that `fd` has open? */
bool reader_is_file(const struct reader *reader, int file, int fd);
const char *reader_mechanism(const struct reader *reader); /* now: "io_uring" or "threads" */

/* Room that a read of size_bytes at any offset needs. */
size_t reader_buffer_bytes(size_t size_bytes);
void reader_start(struct reader *reader, struct reader_read *read);
/* An idle read is needed now: begins it after the others that are. Any other goes on as it does. */
void reader_hurry(struct reader *reader, struct reader_read *read);
/* Takes a read back, which is then over; false: it is under way, or done. */
bool reader_drop(struct reader *reader, struct reader_read *read);
bool reader_is_done(const struct reader_read *read);
/* Waits 50 ms at most; true: it is done. */
bool reader_wait_briefly(struct reader *reader, struct reader_read *read);
/* IO when the disk failed or the file is too short; says which file and where. */
int reader_wait(struct reader *reader, struct reader_read *read, struct stile_error *error);
/* The bytes at `offset`, inside of the buffer. */
static inline void *reader_data(const struct reader_read *read)
{
    return (char *)read->buffer + read->offset % READER_ALIGNMENT;
}

void reader_stats(struct reader *reader, struct reader_stats *stats);

#endif
