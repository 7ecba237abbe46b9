/* ahead.h - brings mapped files into memory ahead of their use.
 *
 * One thread that computes on a mapped file waits for every read; here several threads keep each disk busy, each asking
 * for the next pieces of its files in order, until all is in memory. What is there already only has to enter the page
 * table, which for a file in small pages costs as much as reading it twice, and half of that when it is asked for at
 * once instead of by faults. Only where the system can be asked for this (Linux 5.14); elsewhere ahead_start finds
 * nothing to do.
 */
#ifndef STILE_FILE_AHEAD_H
#define STILE_FILE_AHEAD_H

#include "file/map.h"

#include <stddef.h>

struct ahead;

/* Maps what is in memory of the n maps, then begins reading the rest of them; they must outlive it. NULL when nothing
 * is left to read, or there are no means: reading ahead is never needed. For files that fit in memory: it would drive
 * out what it brought in before. */
struct ahead *ahead_start(struct map *const *maps, size_t n);
/* Ends it, after the pieces in flight, and frees. */
void ahead_stop(struct ahead *ahead);

#endif
