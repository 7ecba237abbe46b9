/* paths.h - the cache folder, making folders, replacing files. */
#ifndef STILE_BASE_PATHS_H
#define STILE_BASE_PATHS_H

#include "base/error.h"

#include <stddef.h>

/* Where stile keeps `below` ("machine.json", "models/x.gguf"; "" for the folder itself): $XDG_CACHE_HOME/stile/below,
 * or ~/.cache/stile/below where that variable is unset, empty or not absolute. Nothing is created. `path` holds `capacity`
 * bytes and is untouched on failure: ARGUMENT when it is too small or there is no home folder. */
int path_cache(char *path, size_t capacity, const char *below, struct stile_error *error);

/* Makes the folder and the missing ones above it, readable by their owner only. One that exists already is fine. */
int path_make_folder(const char *path, struct stile_error *error);

/* Makes the text the content of a file (base/beside.h), in a folder that is made where it is missing. */
int path_replace_file(const char *path, const char *text, struct stile_error *error);

#endif
