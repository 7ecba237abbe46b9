#include "file/reader.h"

#include "base/clock.h"
#include "base/threads.h"
#include "file/reader_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t reader_buffer_bytes(size_t size_bytes)
{
    size_t room = size_bytes + 2 * READER_ALIGNMENT - 1;
    return room / READER_ALIGNMENT * READER_ALIGNMENT;
}

/* ---- direct or cached -------------------------------------------------------------------------- */

enum { WINDOW_BYTES = 192 << 20, SKIPPED_BYTES = 48 << 20, WINDOWS_BETWEEN_TRIALS = 100 };
static const double worth_changing = 1.1;
static const double cached_costs = 1.15; /* reads through the page cache take a processor's time, too */

static uint64_t busy_ns(const struct reader *reader)
{
    return reader->stats.busy_ns + (reader->n_reads > 0 ? clock_ns() - reader->busy_since_ns : 0);
}

/* Counts bytes that came, under the lock; changes the way where the other is faster, or is not known (any more). */
static void ways_count(struct reader *reader, size_t n_bytes)
{
    struct reader_ways *w = &reader->ways;
    if (reader->options.way != READER_FASTEST) return;
    if (w->skipped_bytes < SKIPPED_BYTES) {
        w->skipped_bytes += n_bytes;
        w->window_busy_ns = busy_ns(reader);
        return;
    }
    w->window_bytes += n_bytes;
    if (w->window_bytes < WINDOW_BYTES) return;
    uint64_t now_ns = busy_ns(reader);
    double rate = (double)w->window_bytes * 1e9 / (double)(now_ns - w->window_busy_ns + 1);
    if (w->now == READER_CACHED) rate /= cached_costs;
    double *known = &w->rates[w->now], other = w->rates[!w->now];
    *known = *known > 0 ? (*known + rate) / 2 : rate;
    w->window_bytes = 0;
    w->window_busy_ns = now_ns;
    if (other > *known * worth_changing || other == 0 || ++w->n_windows == WINDOWS_BETWEEN_TRIALS) {
        w->now = !w->now;
        w->rates[w->now] = 0; /* anew */
        w->skipped_bytes = 0;
        w->n_windows = 0;
    }
}

static enum reader_way way_of(const struct reader *reader, const struct reader_file *file)
{
    enum reader_way way = reader->options.way == READER_FASTEST ? reader->ways.now : reader->options.way;
    return way == READER_DIRECT && file->fds[READER_DIRECT] < 0 ? READER_CACHED : way;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

/* An idle read is begun where fewer chunks than this are under way: enough to keep a disk busy, few enough to be soon out
 * of the way of what comes meanwhile; and without a limit when nothing else has come for a while. */
enum { IDLE_IN_FLIGHT = 2, QUIET_NS = 20000000 };

static void append(struct reader_queue *queue, struct reader_read *read)
{
    read->after = NULL;
    if (queue->last)
        queue->last->after = read;
    else
        queue->first = read;
    queue->last = read;
}

/* False: it is not in the queue. */
static bool take_out(struct reader_queue *queue, const struct reader_read *read)
{
    struct reader_read *before = NULL, *at = queue->first;
    for (; at && at != read; at = at->after)
        before = at;
    if (!at) return false;
    if (before)
        before->after = at->after;
    else
        queue->first = at->after;
    if (queue->last == at) queue->last = before;
    return true;
}

bool reader_take(struct reader *reader, struct reader_chunk *chunk)
{
    struct reader_queue *queue = reader->needed.first ? &reader->needed : &reader->idle;
    struct reader_read *read = queue->first;
    if (!read || (read->idle && reader->n_chunks >= IDLE_IN_FLIGHT && clock_ns() - reader->needed_ns < QUIET_NS))
        return false;
    uint64_t begin = read->offset - read->offset % READER_ALIGNMENT;
    size_t n = reader->options.chunk_bytes;
    if (n > read->end - read->next) n = (size_t)(read->end - read->next);
    uint64_t needed = read->offset + read->size_bytes;
    const struct reader_file *file = &reader->files[read->file];
    enum reader_way way = way_of(reader, file);
    *chunk = (struct reader_chunk){
        .read = read,
        .fd = file->fds[way],
        .way = way,
        .to = (char *)read->buffer + (read->next - begin),
        .offset = read->next,
        .size_bytes = n,
        .needed_bytes = needed < read->next + n ? (size_t)(needed - read->next) : n,
    };
    read->next += n;
    read->n_pending++;
    reader->n_chunks++;
    if (!read->idle) reader->needed_ns = clock_ns();
    if (read->next == read->end) take_out(queue, read);
    return true;
}

bool reader_chunk_advance(struct reader_chunk *chunk, ssize_t result, int error)
{
    if (result < 0) {
        if (error == EINTR || error == EAGAIN) return false;
        chunk->failed = error;
        return true;
    }
    chunk->got_bytes += (size_t)result;
    if (chunk->got_bytes >= chunk->needed_bytes) return true;
    /* Only the end of a file makes a direct read stop between two blocks. */
    bool ended = result == 0 || (chunk->way == READER_DIRECT && chunk->got_bytes % READER_ALIGNMENT != 0);
    if (ended) chunk->failed = READER_TRUNCATED;
    return ended;
}

void reader_finish(struct reader *reader, const struct reader_chunk *chunk)
{
    struct reader_read *read = chunk->read;
    if (chunk->way == READER_CACHED)
        posix_fadvise(chunk->fd, (off_t)chunk->offset, (off_t)chunk->size_bytes, POSIX_FADV_DONTNEED);
    pthread_mutex_lock(&reader->lock);
    reader->stats.read_bytes += chunk->got_bytes;
    ways_count(reader, chunk->got_bytes);
    reader->n_chunks--;
    read->n_pending--;
    if (chunk->failed && !read->failed) read->failed = chunk->failed;
    if (read->n_pending == 0 && read->next == read->end) {
        if (--reader->n_reads == 0) reader->stats.busy_ns += clock_ns() - reader->busy_since_ns;
        atomic_store_explicit(&read->done, true, memory_order_release);
        pthread_cond_broadcast(&reader->done);
    }
    pthread_mutex_unlock(&reader->lock);
}

/* ---- by threads -------------------------------------------------------------------------------- */

void reader_read_chunk(struct reader *reader, struct reader_chunk *chunk)
{
    ssize_t result;
    do
        result = reader->options.pread(chunk->fd, chunk->to + chunk->got_bytes, chunk->size_bytes - chunk->got_bytes,
                                       (off_t)(chunk->offset + chunk->got_bytes));
    while (!reader_chunk_advance(chunk, result, errno));
    reader_finish(reader, chunk);
}

static void read_chunks(struct reader *reader)
{
    struct reader_chunk chunk;
    for (;;) {
        pthread_mutex_lock(&reader->lock);
        bool taken = false;
        while (!reader->stop && !(taken = reader_take(reader, &chunk)))
            pthread_cond_wait(&reader->work, &reader->lock);
        pthread_mutex_unlock(&reader->lock);
        if (!taken) return;
        reader_read_chunk(reader, &chunk);
    }
}

static int start_threads(struct reader *reader, int n, struct stile_error *error);

static void *run(void *argument)
{
    struct reader *reader = argument;
    bool by_ring = reader->uring && !atomic_load(&reader->uring_failed);
    if (by_ring && !reader_uring_run(reader)) {
        atomic_store(&reader->uring_failed, true);
        start_threads(reader, reader->options.n_in_flight, NULL); /* if not, this one reads on alone */
        by_ring = false;
    }
    if (!by_ring) read_chunks(reader);
    pthread_mutex_lock(&reader->lock);
    reader->n_running--;
    pthread_cond_broadcast(&reader->done);
    pthread_mutex_unlock(&reader->lock);
    return NULL;
}

/* Until there are n, unless it is time to stop. */
static int start_threads(struct reader *reader, int n, struct stile_error *error)
{
    int failed = 0;
    sigset_t before;
    threads_block_signals(&before);
    pthread_mutex_lock(&reader->lock);
    while (reader->n_threads < n && !reader->stop && !failed) {
        failed = pthread_create(&reader->threads[reader->n_threads], NULL, run, reader);
        if (failed) break;
        reader->n_threads++;
        reader->n_running++;
    }
    pthread_mutex_unlock(&reader->lock);
    threads_restore_signals(&before);
    return failed ? error_set(error, STILE_ERROR_MEMORY, "cannot start a reading thread: %s", strerror(failed)) : 0;
}

/* ---- files ------------------------------------------------------------------------------------- */

/* Some file systems open a file for direct reads and refuse to do any. */
static bool can_read_directly(int fd)
{
    void *page = aligned_alloc(READER_ALIGNMENT, READER_ALIGNMENT);
    bool can = page && pread(fd, page, READER_ALIGNMENT, 0) >= 0;
    free(page);
    return can;
}

/* errno on failure. A file without direct reads is no failure. */
static int open_file(struct reader_file *file, enum reader_way way)
{
#ifdef O_DIRECT
    int *direct = &file->fds[READER_DIRECT];
    if (way != READER_CACHED) *direct = open(file->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (*direct >= 0 && !can_read_directly(*direct)) {
        close(*direct);
        *direct = -1;
    }
    if (*direct >= 0 && way == READER_DIRECT) return 0;
#else
    (void)way;
#endif
    file->fds[READER_CACHED] = open(file->path, O_RDONLY | O_CLOEXEC);
    return file->fds[READER_CACHED] >= 0 ? 0 : errno;
}

static void close_file(struct reader_file *file)
{
    for (int way = 0; way < 2; way++)
        if (file->fds[way] >= 0) close(file->fds[way]);
    free(file->path);
}

int reader_add_file(struct reader *reader, const char *path, struct stile_error *error)
{
    struct reader_file *files = realloc(reader->files, ((size_t)reader->n_files + 1) * sizeof *files);
    if (!files) return error_memory(error, sizeof *files, "a file to read");
    reader->files = files;
    struct reader_file *file = &files[reader->n_files];
    *file = (struct reader_file){.path = strdup(path), .fds = {-1, -1}};
    if (!file->path) return error_memory(error, strlen(path), "a path");
    int failed = open_file(file, reader->options.way);
    if (failed) {
        close_file(file);
        return error_set(error, STILE_ERROR_IO, "%s: cannot open: %s", path, strerror(failed));
    }
    return reader->n_files++;
}

bool reader_is_direct(const struct reader *reader, int file)
{
    return reader->files[file].fds[READER_DIRECT] >= 0;
}

bool reader_is_file(const struct reader *reader, int file, int fd)
{
    struct stat a, b;
    const int *fds = reader->files[file].fds;
    if (fstat(fds[fds[READER_DIRECT] < 0], &a) != 0 || fstat(fd, &b) != 0) return false;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* ---- the reader -------------------------------------------------------------------------------- */

enum { N_IN_FLIGHT = 16, CHUNK_BYTES = 2 << 20, PATIENCE_MS = 3000, MS_NS = 1000000 };

int reader_create(struct reader **reader, const struct reader_options *options, struct stile_error *error)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r) return error_memory(error, sizeof *r, "a reader");
    r->options = *options;
    if (r->options.n_in_flight == 0) r->options.n_in_flight = N_IN_FLIGHT;
    if (r->options.chunk_bytes == 0) r->options.chunk_bytes = CHUNK_BYTES;
    if (r->options.patience_ms == 0) r->options.patience_ms = PATIENCE_MS;
    if (!r->options.pread) r->options.pread = pread;
    assert(r->options.n_in_flight > 0 && r->options.n_in_flight <= READER_IN_FLIGHT_MAX);
    assert(r->options.chunk_bytes % READER_ALIGNMENT == 0);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->done, NULL);
    r->uring = !r->options.threads && !options->pread ? reader_uring_create(r->options.n_in_flight) : NULL;
    int failed = start_threads(r, r->uring ? 1 : r->options.n_in_flight, error);
    if (failed) {
        reader_free(r);
        return failed;
    }
    *reader = r;
    return 0;
}

bool reader_stop(struct reader *reader)
{
    if (reader->stopped) return !reader->hangs;
    uint64_t until_ns = clock_ns() + (uint64_t)reader->options.patience_ms * MS_NS;
    reader->stopped = true;
    pthread_mutex_lock(&reader->lock);
    reader->stop = true;
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    if (reader->uring) reader_uring_wake(reader->uring);
    pthread_mutex_lock(&reader->lock);
    while (reader->n_running > 0 && clock_ns() < until_ns)
        threads_wait_briefly(&reader->done, &reader->lock);
    reader->hangs = reader->n_running > 0;
    pthread_mutex_unlock(&reader->lock);
    for (int i = 0; i < reader->n_threads; i++)
        if (reader->hangs)
            pthread_detach(reader->threads[i]);
        else
            pthread_join(reader->threads[i], NULL);
    return !reader->hangs;
}

void reader_free(struct reader *reader)
{
    if (!reader || !reader_stop(reader)) return;
    reader_uring_free(reader->uring);
    for (int i = 0; i < reader->n_files; i++)
        close_file(&reader->files[i]);
    free(reader->files);
    pthread_cond_destroy(&reader->done);
    pthread_cond_destroy(&reader->work);
    pthread_mutex_destroy(&reader->lock);
    free(reader);
}

const char *reader_mechanism(const struct reader *reader)
{
    return reader->uring && !atomic_load(&reader->uring_failed) ? "io_uring" : "threads";
}

void reader_start(struct reader *reader, struct reader_read *read)
{
    assert(read->file >= 0 && read->file < reader->n_files && read->size_bytes > 0);
    uint64_t end = read->offset + read->size_bytes;
    read->next = read->offset - read->offset % READER_ALIGNMENT;
    read->end = (end + READER_ALIGNMENT - 1) / READER_ALIGNMENT * READER_ALIGNMENT;
    read->n_pending = 0;
    read->failed = 0;
    atomic_store_explicit(&read->done, false, memory_order_relaxed);
    pthread_mutex_lock(&reader->lock);
    if (reader->n_reads++ == 0) reader->busy_since_ns = clock_ns();
    append(read->idle ? &reader->idle : &reader->needed, read);
    pthread_cond_broadcast(&reader->work);
    pthread_mutex_unlock(&reader->lock);
    if (reader->uring) reader_uring_wake(reader->uring);
}

void reader_hurry(struct reader *reader, struct reader_read *read)
{
    pthread_mutex_lock(&reader->lock);
    bool waits = read->idle && take_out(&reader->idle, read);
    if (waits) {
        read->idle = false;
        append(&reader->needed, read);
        pthread_cond_broadcast(&reader->work);
    }
    pthread_mutex_unlock(&reader->lock);
    if (waits && reader->uring) reader_uring_wake(reader->uring);
}

bool reader_drop(struct reader *reader, struct reader_read *read)
{
    pthread_mutex_lock(&reader->lock);
    bool waits = read->n_pending == 0 && take_out(read->idle ? &reader->idle : &reader->needed, read);
    if (waits && --reader->n_reads == 0) reader->stats.busy_ns += clock_ns() - reader->busy_since_ns;
    pthread_mutex_unlock(&reader->lock);
    return waits;
}

bool reader_is_done(const struct reader_read *read)
{
    return atomic_load_explicit(&read->done, memory_order_acquire);
}

bool reader_wait_briefly(struct reader *reader, struct reader_read *read)
{
    if (reader_is_done(read)) return true;
    pthread_mutex_lock(&reader->lock);
    if (!reader_is_done(read)) threads_wait_briefly(&reader->done, &reader->lock);
    pthread_mutex_unlock(&reader->lock);
    return reader_is_done(read);
}

int reader_wait(struct reader *reader, struct reader_read *read, struct stile_error *error)
{
    if (!reader_is_done(read)) {
        pthread_mutex_lock(&reader->lock);
        while (!reader_is_done(read))
            pthread_cond_wait(&reader->done, &reader->lock);
        pthread_mutex_unlock(&reader->lock);
    }
    if (!read->failed) return 0;
    return error_set(error, STILE_ERROR_IO, "%s: offset %llu: cannot read %zu bytes: %s",
                     reader->files[read->file].path, (unsigned long long)read->offset, read->size_bytes,
                     read->failed == READER_TRUNCATED ? "the file ends before" : strerror(read->failed));
}

void reader_stats(struct reader *reader, struct reader_stats *stats)
{
    pthread_mutex_lock(&reader->lock);
    *stats = reader->stats;
    stats->busy_ns = busy_ns(reader);
    stats->way = reader->options.way == READER_FASTEST ? reader->ways.now : reader->options.way;
    pthread_mutex_unlock(&reader->lock);
}
