/* header.h - opening only the header of the model that a command names, which may be far away. */
#ifndef STILE_CLI_HEADER_H
#define STILE_CLI_HEADER_H

#include "cli/options.h"

/* With --format for shapes; says on a terminal what takes long, and ends at Ctrl-C. Returns an exit code, after one line
 * on stderr when it is not EXIT_OK. */
int header_open(struct stile_model **model, const char *name, const struct options *options);

#endif
