/* shipped.h - files that come with stile: in PREFIX/share/stile where it is installed, in data/ where it was built. */
#ifndef STILE_CLI_SHIPPED_H
#define STILE_CLI_SHIPPED_H

#include <stddef.h>

/* A text to calibrate with. */
#define SHIPPED_CALIBRATION "calibration.txt"

/* The path of such a file, by its name; `path` holds `capacity` bytes. Returns an exit code, after one line on stderr where
 * it is not there. */
int shipped_find(const char *name, char *path, size_t capacity);

#endif
