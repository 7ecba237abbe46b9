/* edit_distance.h - how unlike two words are, for "did you mean". */
#ifndef STILE_BASE_EDIT_DISTANCE_H
#define STILE_BASE_EDIT_DISTANCE_H

#include <stddef.h>

/* Edits (insert, delete, replace a byte; case ignored) that turn a into b; SIZE_MAX where one has more than 63 bytes. */
size_t edit_distance(const char *a, const char *b);

#endif
