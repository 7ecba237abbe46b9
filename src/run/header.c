/* Opening only the header of a model, wherever it is. */
#include "base/clock.h"
#include "run/loaded.h"

#include <stdio.h>

/* A shape in a format. */
static int open_shape(struct stile_model **model, const char *shape, const char *format, struct stile_error *error)
{
    struct synthetic *synthetic;
    struct gguf *gguf;
    char name[256];
    uint64_t begin_ns = clock_ns();
    int failed = loaded_synthetic(&synthetic, shape, format, error);
    if (failed) return failed;
    failed = synthetic_open_header(synthetic, &gguf, error);
    synthetic_free(synthetic);
    snprintf(name, sizeof name, "%s in %s", shape, format);
    return failed ? failed : loaded_create(model, name, gguf, begin_ns, error);
}

int stile_model_open_header(struct stile_model **model, const char *name, const struct stile_header_options *options,
                            struct stile_error *error)
{
    char path[4096];
    const char *format = options && options->format ? options->format : "q4_k_m";
    int failed;
    if (stile_model_find(name, path, sizeof path, NULL) != 0 && shape_find(name))
        failed = open_shape(model, name, format, error);
    else
        failed = stile_model_open(model, name, error);
    if (!failed) (*model)->header_only = true;
    return failed;
}
