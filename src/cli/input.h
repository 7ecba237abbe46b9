/* input.h - text from a file or a pipe. */
#ifndef STILE_CLI_INPUT_H
#define STILE_CLI_INPUT_H

#include "base/buffer.h"

/* Reads all of the file, "-" for standard input, and drops one newline at the end. Returns an exit code. */
int input_read(const char *path, struct buffer *text);

#endif
