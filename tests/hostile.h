/* hostile.h - the corpus of malformed files, and of unusual ones that are right, made by code.
 *
 * Each case is a right file (or set of shards) with exactly one thing changed. It says who must notice:
 *   VALID  nobody: opens, and (those named "tiny-...") runs
 *   GGUF   gguf_open
 *   MODEL  passes gguf_open; opening the model must fail (stile info, stile run)
 *   CHAT   the model opens; rendering its chat template must fail (stile run -p TEXT)
 */
#ifndef STILE_TESTS_HOSTILE_H
#define STILE_TESTS_HOSTILE_H

#include "base/buffer.h"

enum hostile_level { HOSTILE_VALID, HOSTILE_GGUF, HOSTILE_MODEL, HOSTILE_CHAT };

enum { HOSTILE_FILES_MAX = 3 };

struct hostile_file {
    char name[96]; /* file name without folder */
    struct buffer bytes;
};

struct hostile_set {
    const char *name;
    enum hostile_level level;
    const char *expected; /* part of the message; NULL when valid */
    size_t n_files;
    struct hostile_file files[HOSTILE_FILES_MAX];
    size_t open; /* the file to be named to gguf_open */
};

size_t hostile_count(void);
/* Makes case i, or the one of that name (ends the program when there is none); give it back with hostile_free. */
void hostile_build(size_t i, struct hostile_set *set);
void hostile_build_named(const char *name, struct hostile_set *set);
void hostile_free(struct hostile_set *set);
/* Writes its files into a folder; `path` receives the one to open. Ends the program when it cannot. */
void hostile_write(const struct hostile_set *set, const char *folder, char *path, size_t capacity);
const char *hostile_level_name(enum hostile_level level);

#endif
