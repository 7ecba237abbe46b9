/* ahead.h - brings mapped files into memory ahead of their use.
 *
 * One thread that computes on a mapped file waits for every read; here several threads keep the disk busy, each asking
 * for the next pieces of the files in order, until all is in memory. What is there already costs a look. Only where the
 * system can be asked for this (Linux 5.14); elsewhere ahead_start finds nothing to do.
 */
#ifndef STILE_FILE_AHEAD_H
#define STILE_FILE_AHEAD_H

#include "file/map.h"

#include <stddef.h>

struct ahead;

/* Begins reading what is not in memory of the n maps, which must outlive it. NULL when there is nothing to do, or no
 * means: reading ahead is never needed. For files that fit in memory: it would drive out what it brought in before. */
struct ahead *ahead_start(struct map *const *maps, size_t n);
/* Ends it, after the pieces in flight, and frees. */
void ahead_stop(struct ahead *ahead);

#endif
