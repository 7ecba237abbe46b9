/* map.h - a file mapped read-only, safe against being truncated underneath.
 *
 * Touching a page of a mapped file that has been truncated raises SIGBUS. A handler (installed with the first
 * map, passing on what is not ours) puts zeros in place of the lost page and all that follow, and marks the map as
 * failed; whoever computes with the data asks map_failed afterwards and throws the result away. So nothing that is
 * computed from a map is true before map_failed has said false.
 * Opening and closing are thread-safe, and so is reading while other maps come and go.
 */
#ifndef STILE_FILE_MAP_H
#define STILE_FILE_MAP_H

#include "base/error.h"

struct map;

/* Maps the whole of a regular file; anything else, and an empty file, is an error. Reads nothing. */
int map_open(struct map **map, const char *path, struct stile_error *error);
void map_close(struct map *map);
const uint8_t *map_data(const struct map *map);
uint64_t map_size_bytes(const struct map *map);
int map_fd(const struct map *map);
const char *map_path(const struct map *map); /* as it was opened */
/* Has a page gone missing (the file was truncated, or a read failed), or has the file been written to, since the
 * map was opened? One system call. */
bool map_failed(const struct map *map);

/* Of a part of a mapped file of which little is wanted here and there: what lies around that is not read too, as it would
 * be otherwise, in megabytes. */
void map_read_scattered(const void *data, uint64_t size_bytes);
/* Begins to read it and does not wait. A hint: where it is refused, it is read when it is touched. */
void map_read_soon(const void *data, uint64_t size_bytes);

#endif
