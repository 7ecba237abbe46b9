#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(const struct beside *b, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_IO, "%s: cannot %s: %s", b->path, what, strerror(errno));
}

int beside_open(struct beside *beside, const char *path, struct stile_error *error)
{
    size_t capacity = strlen(path) + 32;
    *beside = (struct beside){.path = path, .part = malloc(capacity), .fd = -1};
    if (!beside->part) return error_memory(error, capacity, "the name of a file");
    snprintf(beside->part, capacity, "%s.%ld.part", path, (long)getpid());
    beside->fd = open(beside->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (beside->fd >= 0) return 0;
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
    int failed = fsync(beside->fd) != 0 ? fail(beside, "write to the disk", error) : 0;
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
