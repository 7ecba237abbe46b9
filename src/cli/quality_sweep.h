/* quality_sweep.h - `stile quality --sweep`: what many formats of a model take, cost and give. */
#ifndef STILE_CLI_QUALITY_SWEEP_H
#define STILE_CLI_QUALITY_SWEEP_H

#include "cli/options.h"
#include "lab/sweep.h"

/* `quality` has the models open and the windows made; the text came from `text`. Returns an exit code. */
int quality_sweep(const struct options *options, const struct quality_plan *quality, const char *text);

/* Divergence over bits per weight, as SVG. Free it with free; NULL when memory is out. */
char *sweep_svg(const struct sweep *sweep, const char *title, const char *subtitle);

#endif
