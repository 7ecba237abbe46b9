/* bench_models.h - what `stile bench` measures: the files of the command line, then every shape in every format. */
#ifndef STILE_CLI_BENCH_MODELS_H
#define STILE_CLI_BENCH_MODELS_H

#include "cli/options.h"
#include "lab/bench.h"

struct bench_models {
    struct bench_model models[BENCH_MODELS_MAX];
    size_t n;
    char *shapes, *formats; /* the lists, cut into names that the models point to */
};

/* Reads the command line; with --out writes the synthetic model there. Returns an exit code. */
int bench_models_read(struct bench_models *models, const struct options *options);
void bench_models_free(struct bench_models *models);

#endif
