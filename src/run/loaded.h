/* loaded.h - an open model as the public interface knows it: weights, tokenizer, chat template, program. */
#ifndef STILE_RUN_LOADED_H
#define STILE_RUN_LOADED_H

#include "model/synthetic.h"
#include "program/op.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#include <pthread.h>

struct stile_model {
    char *path;
    struct model *model;
    struct tokenizer *tokenizer;
    struct program *program;
    struct chat_template *chat; /* compiled on first use, under chat_lock */
    pthread_mutex_t chat_lock;
    struct stile_model_info info;
    struct stile_load_times times;
    bool header_only;
};

/* The model of a gguf, which was begun to be opened at begin_ns; takes it over, also on failure. `path` is what the model
 * is called. */
int loaded_create(struct stile_model **model, const char *path, struct gguf *gguf, uint64_t begin_ns,
                  struct stile_error *error);
/* The synthetic model of a shape, by names. */
int loaded_synthetic(struct synthetic **synthetic, const char *shape, const char *format, struct stile_error *error);

#endif
