/* output.h - the file that is being made: beside its place until it is whole, and able to go on after an interruption.
 *
 * "PATH.partial" has all bytes in their final places but the first ones, where a record says how many tensors are
 * complete and what they were made from; so it opens as nothing. The record never says more than what is on the disk. At
 * the end the beginning of the model takes the record's place and the file gets its name. One that a killed process left
 * is as good as one of a process that was asked to stop.
 */
#ifndef STILE_QUANTIZE_OUTPUT_H
#define STILE_QUANTIZE_OUTPUT_H

#include "base/buffer.h"
#include "file/gguf.h"

/* What the bytes follow from: a record of another run is of use only where all are equal. */
enum output_cause { OUTPUT_INPUT, OUTPUT_OPTIONS, OUTPUT_IMATRIX, OUTPUT_PROGRAM, OUTPUT_N_CAUSES };

struct output_request {
    const char *path;
    const struct gguf *in; /* must not be overwritten */
    const struct buffer *header;
    uint64_t size_bytes; /* of the whole file */
    uint64_t causes[OUTPUT_N_CAUSES];
    bool force;      /* replace what is there */
    bool resume;     /* go on with what is there */
    bool keep_cache; /* do not ask the system to forget what is written */
};

struct output;

/* Is there room, a folder, and nothing in the way? Changes nothing. */
int output_check(const struct output_request *request, struct stile_error *error);
/* Checks, and makes or opens the partial file, which no other process may then open. `n_done` gets how many tensors are complete.
 * The request must live as long as the output. */
int output_open(struct output **output, const struct output_request *request, uint64_t *n_done,
                struct stile_error *error);
/* Writes bytes at a place in the file; from any thread. 0, or errno. */
int output_write(struct output *output, const void *bytes, size_t n, uint64_t offset);
/* So many tensors are complete, in their order; soon the record will say so. */
void output_note(struct output *output, uint64_t n_done);
/* Puts the whole file in its place; it is on the disk afterwards. */
int output_finish(struct output *output, struct stile_error *error);
/* Where it is not finished, what is complete is recorded and kept; the partial file goes when that is nothing. */
void output_close(struct output *output);

#endif
