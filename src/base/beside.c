#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const struct beside *b, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_IO, "%s: cannot %s: %s", b->path, what, strerror(errno));
}

/* Creates the file under a name that no other thread, process or machine has. */
static int create_part(struct beside *b, size_t capacity)
{
    static atomic_uint n_opened;
    do {
        snprintf(b->part, capacity, "%s.%ld-%u.part", b->path, (long)getpid(), atomic_fetch_add(&n_opened, 1));
        b->fd = open(b->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (b->fd < 0 && errno == EEXIST); /* left by a process of the same number that was killed */
    return b->fd;
}

int beside_open(struct beside *beside, const char *path, struct stile_error *error)
{
    struct stat status;
    size_t capacity = strlen(path) + 48;
    *beside = (struct beside){.path = path, .fd = -1};
    if (!*path || (stat(path, &status) == 0 && !S_ISREG(status.st_mode))) /* a folder; a device would be lost */
        return error_set(error, STILE_ERROR_IO, "'%s' is not the name of a file that can be replaced", path);
    beside->part = malloc(capacity);
    if (!beside->part) return error_memory(error, capacity, "the name of a file");
    if (create_part(beside, capacity) >= 0) return 0;
    int failed = fail(beside, "create a file beside it", error);
    free(beside->part);
    beside->part = NULL;
    return failed;
}

int beside_write(struct beside *beside, const void *bytes, size_t n, struct stile_error *error)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t written = write(beside->fd, at, n);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return fail(beside, "write", error);
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

int beside_finish(struct beside *beside, struct stile_error *error)
{
    bool unsafe = !beside->unforced && fsync(beside->fd) != 0;
    int failed = unsafe ? fail(beside, "write to the disk", error) : 0;
    if (close(beside->fd) != 0 && !failed) failed = fail(beside, "write", error);
    beside->fd = -1;
    if (!failed && rename(beside->part, beside->path) != 0) failed = fail(beside, "give it its name", error);
    if (failed) {
        beside_abandon(beside);
        return failed;
    }
    free(beside->part);
    beside->part = NULL;
    return 0;
}

void beside_abandon(struct beside *beside)
{
    if (beside->fd >= 0) close(beside->fd);
    if (beside->part) unlink(beside->part);
    free(beside->part);
    *beside = (struct beside){.fd = -1};
}

int beside_replace(const char *path, const void *bytes, size_t n, struct stile_error *error)
{
    struct beside file;
    int failed = beside_open(&file, path, error);
    if (failed) return failed;
    failed = beside_write(&file, bytes, n, error);
    if (!failed) return beside_finish(&file, error);
    beside_abandon(&file);
    return failed;
}
