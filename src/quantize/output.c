#include "quantize/output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_INTERVAL_S = 1 };

/* In place of the first bytes of the file, and of one sector: it is written as a whole or not at all. */
struct record {
    char magic[8];
    uint64_t n_done;
    uint64_t causes[OUTPUT_N_CAUSES];
    uint64_t size_bytes;
    uint64_t unused;
};
_Static_assert(sizeof(struct record) == 64, "layout");
static const char magic[8] = {'s', 't', 'i', 'l', 'e', 'q', 'n', 't'};

struct output {
    const struct output_request *request;
    char *partial;
    int fd;
    struct record record; /* as on the disk; the keeper's, then that of finish and close */
    bool left;            /* the partial file stays as it is, or is not there any more */
    /* The keeper: writes to the disk what was written so far, once a second, and records it. */
    pthread_t keeper;
    bool has_keeper;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool quit;       /* under lock */
    uint64_t n_done; /* under lock */
    atomic_bool dirty;
    atomic_int failed; /* errno of the keeper */
};

static int fail(const char *path, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* 0, or errno. */
static int write_all(int fd, const void *bytes, size_t n, uint64_t offset)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t written = pwrite(fd, at, n, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written < 0 ? errno : ENOSPC;
        at += written;
        offset += (uint64_t)written;
        n -= (size_t)written;
    }
    return 0;
}

/* ---- may it be written? -------------------------------------------------------------------------- */

static char *partial_path(const char *path)
{
    static const char suffix[] = ".partial";
    char *partial = malloc(strlen(path) + sizeof suffix);
    if (partial) sprintf(partial, "%s%s", path, suffix);
    return partial;
}

static bool is_input(const struct gguf *in, const struct stat *status)
{
    struct stat shard;
    for (uint32_t i = 0; in->maps && i < in->n_shards; i++)
        if (fstat(map_fd(in->maps[i]), &shard) == 0 && shard.st_dev == status->st_dev && shard.st_ino == status->st_ino)
            return true;
    return false;
}

static int check_place(const struct output_request *request, const char *path, bool partial, struct stile_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT || errno == ELOOP) return 0;
        return fail(path, "be made", error);
    }
    if (is_input(request->in, &status))
        return error_set(error, STILE_ERROR_ARGUMENT, "%s is the model that is to be read (give another name)", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, STILE_ERROR_ARGUMENT, "%s is not a file: a model cannot be written there", path);
    if (!partial && !request->force)
        return error_set(error, STILE_ERROR_ARGUMENT, "%s exists already (--force replaces it)", path);
    return 0;
}

/* Is there room in the folder of `path` beside the `have_bytes` that the partial file has? */
static int check_room(const struct output_request *request, uint64_t have_bytes, struct stile_error *error)
{
    const char *slash = strrchr(request->path, '/');
    size_t n = slash ? (size_t)(slash - request->path) : 0;
    char *folder = slash ? strndup(request->path, n > 0 ? n : 1) : strdup(".");
    struct statvfs disk;
    if (!folder) return error_memory(error, n, "a path");
    int failed = statvfs(folder, &disk) != 0 ? fail(folder, "write there", error) : 0;
    free(folder);
    if (failed) return failed;
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize, size_bytes = request->size_bytes;
    if (free_bytes >= size_bytes || free_bytes + have_bytes >= size_bytes) return 0;
    return error_set(error, STILE_ERROR_IO, "%s: its disk has %.1f GB free, and %.1f GB are needed", request->path,
                     1e-9 * (double)(free_bytes + have_bytes), 1e-9 * (double)size_bytes);
}

static int check(const struct output_request *request, const char *partial, struct stile_error *error)
{
    struct stat status;
    int failed = check_place(request, request->path, false, error);
    if (!failed) failed = check_place(request, partial, true, error);
    if (failed) return failed;
    bool there = stat(partial, &status) == 0;
    return check_room(request, there ? (uint64_t)status.st_blocks * 512 : 0, error);
}

int output_check(const struct output_request *request, struct stile_error *error)
{
    char *partial = partial_path(request->path);
    int failed = partial ? check(request, partial, error) : error_memory(error, strlen(request->path), "a path");
    free(partial);
    return failed;
}

/* ---- the partial file ---------------------------------------------------------------------------- */

/* Does it end as the whole file should, with only the renaming left to do? */
static bool is_whole(const struct output *o, uint64_t size_bytes)
{
    const struct buffer *header = o->request->header;
    char *bytes = size_bytes == o->request->size_bytes ? malloc(header->n) : NULL;
    bool whole =
        bytes && pread(o->fd, bytes, header->n, 0) == (ssize_t)header->n && memcmp(bytes, header->data, header->n) == 0;
    free(bytes);
    return whole;
}

/* What differs between the record and what is asked for. */
static int explain(const struct output *o, enum output_cause cause, struct stile_error *error)
{
    static const char *const what[OUTPUT_N_CAUSES] = {
        [OUTPUT_INPUT] = "from another input",
        [OUTPUT_OPTIONS] = "with other options",
        [OUTPUT_IMATRIX] = "with another importance matrix",
        [OUTPUT_PROGRAM] = "by another version of stile",
    };
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "%s was begun %s, so it cannot be continued (--force without --resume starts over)", o->partial,
                     what[cause]);
}

/* Goes on where the record says. */
static int take_up(struct output *o, uint64_t size_bytes, uint64_t *n_done, struct stile_error *error)
{
    const struct output_request *request = o->request;
    static const struct record nothing;
    struct record found = {0};
    ssize_t n = pread(o->fd, &found, sizeof found, 0);
    if (n < 0) return fail(o->partial, "be read", error);
    if (size_bytes == 0 || memcmp(&found, &nothing, sizeof found) == 0) return 0; /* killed before it had one */
    bool whole = is_whole(o, size_bytes);
    if (!whole && memcmp(found.magic, magic, sizeof magic) != 0)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s is not what an interrupted `stile quantize` leaves: rename it or remove it", o->partial);
    if (request->force && !request->resume) return ftruncate(o->fd, 0) == 0 ? 0 : fail(o->partial, "begin", error);
    if (!request->resume)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s is there, from a run that was interrupted (--resume continues it, --force starts over)",
                         o->partial);
    for (enum output_cause cause = 0; !whole && cause < OUTPUT_N_CAUSES; cause++)
        if (found.causes[cause] != request->causes[cause]) return explain(o, cause, error);
    if (!whole && (found.size_bytes != request->size_bytes || size_bytes != request->size_bytes))
        return explain(o, OUTPUT_OPTIONS, error);
    *n_done = whole ? UINT64_MAX : found.n_done;
    return 0;
}

/* Opens it, ours alone. */
static int open_partial(struct output *o, uint64_t *n_done, struct stile_error *error)
{
    const struct output_request *request = o->request;
    struct stat status, named;
    o->fd = open(o->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (o->fd < 0) return fail(o->partial, "be made", error);
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, STILE_ERROR_IO, "%s: another process is writing it", o->partial);
    if (fstat(o->fd, &status) != 0) return fail(o->partial, "be read", error);
    if (stat(o->partial, &named) != 0 || named.st_ino != status.st_ino)
        return error_set(error, STILE_ERROR_IO, "%s: another process has just finished it", o->partial);
    int failed = take_up(o, (uint64_t)status.st_size, n_done, error);
    if (failed || *n_done == UINT64_MAX) return failed;
    o->left = false;
    o->record = (struct record){.n_done = *n_done, .size_bytes = request->size_bytes};
    memcpy(o->record.magic, magic, sizeof magic);
    memcpy(o->record.causes, request->causes, sizeof o->record.causes);
    if ((errno = write_all(o->fd, &o->record, sizeof o->record, 0)) != 0) return fail(o->partial, "be written", error);
    /* a disk that is too small says so at once; file systems that cannot reserve are told as they fill */
    if (fallocate(o->fd, 0, 0, (off_t)request->size_bytes) != 0 &&
        ((errno != EOPNOTSUPP && errno != ENOSYS) || ftruncate(o->fd, (off_t)request->size_bytes) != 0))
        return fail(o->partial, "make room for it", error);
    return 0;
}

/* ---- keeping ------------------------------------------------------------------------------------- */

static int keep(struct output *o, uint64_t n_done)
{
    if (fdatasync(o->fd) != 0) return errno;
    if (!o->request->keep_cache) posix_fadvise(o->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (n_done == o->record.n_done) return 0;
    o->record.n_done = n_done;
    return write_all(o->fd, &o->record, sizeof o->record, 0);
}

static void *keeper_main(void *argument)
{
    struct output *o = argument;
    struct timespec until;
    pthread_mutex_lock(&o->lock);
    while (!o->quit) {
        uint64_t n_done = o->n_done;
        pthread_mutex_unlock(&o->lock);
        int failed = atomic_exchange(&o->dirty, false) ? keep(o, n_done) : 0;
        if (failed) atomic_store(&o->failed, failed);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += SYNC_INTERVAL_S;
        pthread_mutex_lock(&o->lock);
        while (!o->quit && pthread_cond_timedwait(&o->changed, &o->lock, &until) == 0) {
        }
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static void stop_keeper(struct output *o)
{
    if (!o->has_keeper) return;
    pthread_mutex_lock(&o->lock);
    o->quit = true;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
    pthread_join(o->keeper, NULL);
    o->has_keeper = false;
}

/* ---- the interface ------------------------------------------------------------------------------- */

int output_open(struct output **output, const struct output_request *request, uint64_t *n_done,
                struct stile_error *error)
{
    assert(request->header->n >= sizeof(struct record));
    struct output *o = calloc(1, sizeof *o);
    char *partial = partial_path(request->path);
    if (!o || !partial) {
        free(o);
        free(partial);
        return error_memory(error, sizeof *o, "a file");
    }
    o->request = request;
    o->partial = partial;
    o->fd = -1;
    o->left = true;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    *n_done = 0;
    int failed = check(request, partial, error);
    if (!failed) failed = open_partial(o, n_done, error);
    if (failed) {
        output_close(o);
        return failed;
    }
    o->n_done = *n_done;
    o->has_keeper = *n_done != UINT64_MAX && pthread_create(&o->keeper, NULL, keeper_main, o) == 0;
    *output = o;
    return 0;
}

int output_write(struct output *o, const void *bytes, size_t n, uint64_t offset)
{
    int failed = atomic_load(&o->failed);
    if (!failed) failed = write_all(o->fd, bytes, n, offset);
    atomic_store(&o->dirty, true);
    return failed;
}

void output_note(struct output *o, uint64_t n_done)
{
    pthread_mutex_lock(&o->lock);
    o->n_done = n_done;
    pthread_mutex_unlock(&o->lock);
    atomic_store(&o->dirty, true);
}

/* Makes the renaming last. A folder that cannot be synchronized is no reason to fail. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

int output_finish(struct output *o, struct stile_error *error)
{
    const struct buffer *header = o->request->header;
    size_t first = sizeof(struct record);
    stop_keeper(o);
    errno = atomic_load(&o->failed);
    if (!errno && o->n_done != UINT64_MAX) {
        errno = write_all(o->fd, header->data + first, header->n - first, first);
        if (!errno && fsync(o->fd) == 0) errno = write_all(o->fd, header->data, first, 0);
    }
    if (errno || fsync(o->fd) != 0) return fail(o->partial, "be written", error);
    if (rename(o->partial, o->request->path) != 0) return fail(o->request->path, "get its name", error);
    sync_folder(o->request->path);
    o->left = true;
    return 0;
}

void output_close(struct output *o)
{
    if (!o) return;
    stop_keeper(o);
    if (!o->left && o->n_done == 0)
        unlink(o->partial);
    else if (!o->left && o->n_done != UINT64_MAX)
        keep(o, o->n_done);
    if (o->fd >= 0) close(o->fd);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    free(o->partial);
    free(o);
}
