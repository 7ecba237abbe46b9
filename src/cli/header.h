/* header.h - opening only the header of the model that a command names, which may be far away. */
#ifndef STILE_CLI_HEADER_H
#define STILE_CLI_HEADER_H

#include "stile.h"

/* `format` is for shapes. Says on a terminal what takes long, and ends at Ctrl-C. Returns an exit code, after one line
 * on stderr when it is not EXIT_OK. */
int header_open(struct stile_model **model, const char *name, const char *format);

#endif
