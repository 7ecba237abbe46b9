/* logits_file.h - the logits of a text on disk, so that many models can be compared with one that runs once.
 *
 * A file has the windows, their tokens, and for each scored token a row of 16-bit codes c: the logit is the row's largest
 * less scale x c^2. Squares put the fine steps where probabilities are: a logit 1 below the largest is off by 1e-4 at most, one
 * 10 below by 3e-4, none is cut off. A model compared with its own file has a divergence of some 1e-9.
 */
#ifndef STILE_LAB_LOGITS_FILE_H
#define STILE_LAB_LOGITS_FILE_H

#include "base/threads.h"
#include "lab/windows.h"

#include <stdbool.h>

enum { LOGITS_NAME_BYTES = 256 };

struct logits_file;

/* Bytes of a file with the logits of these windows. */
uint64_t logits_file_size(const struct windows *windows, uint32_t n_vocab);

/* Begins a file beside `path`, which replaces it in logits_file_finish. IO when the disk has not enough room. */
int logits_file_create(struct logits_file **file, const char *path, const struct stile_model *model,
                       const struct windows *windows, const char *text_name, struct stile_error *error);
/* The next n_rows rows, (n_rows, n_vocab). */
int logits_file_append(struct logits_file *file, struct threads *threads, const float *rows, size_t n_rows,
                       struct stile_error *error);
/* All rows are there: the file appears, whole and on the disk. */
int logits_file_finish(struct logits_file *file, struct stile_error *error);

/* Is this the beginning of such a file? */
bool logits_file_is(const char *path);
/* MALFORMED for anything that logits_file_finish did not leave. */
int logits_file_open(struct logits_file **file, const char *path, struct stile_error *error);
/* A model with another vocabulary: ARGUMENT. */
int logits_file_check(const struct logits_file *file, const struct stile_model *model, struct stile_error *error);
/* Its windows, (n_max at most, 0: all); free them with windows_free. */
int logits_file_windows(const struct logits_file *file, size_t n_max, struct windows *windows,
                        struct stile_error *error);
/* What made it. Strings may hold anything. */
const char *logits_file_model(const struct logits_file *file);
const char *logits_file_text(const struct logits_file *file);
/* Rows first to first + n_rows; each as far below 0 as the logit was below the largest. */
int logits_file_read(const struct logits_file *file, struct threads *threads, size_t first, size_t n_rows, float *rows,
                     struct stile_error *error);

/* Also of one that was not finished: nothing is left of it then. */
void logits_file_close(struct logits_file *file);

#endif
