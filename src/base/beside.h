/* beside.h - a file that gets its name when it is whole: written beside, forced to the disk, renamed.
 *
 * Threads and processes may write the same path at once: the last to finish has it. Whoever is killed meanwhile leaves
 * PATH.PID-N.part behind, and what was at the path before.
 */
#ifndef STILE_BASE_BESIDE_H
#define STILE_BASE_BESIDE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct beside {
    const char *path; /* the caller's */
    char *part;       /* its name meanwhile */
    int fd;           /* for writing as one likes */
    bool unforced;    /* of the caller: it may be lost if the machine stops in the next seconds */
};

/* IO where `path` is there and no regular file. */
int beside_open(struct beside *beside, const char *path, struct stile_error *error);
/* Writes all of it where the file is. */
int beside_write(struct beside *beside, const void *bytes, size_t n, struct stile_error *error);
/* Either of these ends it. `finish` takes the file away where it fails. */
int beside_finish(struct beside *beside, struct stile_error *error);
void beside_abandon(struct beside *beside);

/* All of it in one go. */
int beside_replace(const char *path, const void *bytes, size_t n, struct stile_error *error);

#endif
