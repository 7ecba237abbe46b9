/* loaded.h - an open model as the public interface knows it: weights, tokenizer, chat template, program. */
#ifndef STILE_RUN_LOADED_H
#define STILE_RUN_LOADED_H

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
};

#endif
