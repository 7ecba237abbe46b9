/* Opening a model: file, weights, vocabulary, program, and what the public interface says of it. */
#include "run/loaded.h"

#include "base/clock.h"
#include "model/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a decoded token does not need. */
static uint64_t idle_parameters(const struct model *model)
{
    const struct hparams *h = &model->hparams;
    const struct weight *embedding = &model->globals[ROLE_TOKEN_EMBD];
    uint64_t n = model_output(model) == embedding ? 0 : embedding->rows * embedding->cols;
    for (uint32_t layer = 0; layer < h->n_layers; layer++) {
        for (enum role role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++) {
            const struct weight *weight = model_weight(model, layer, role);
            if (weight->n_experts > 0) n += (h->n_experts - h->n_experts_used) * weight->rows * weight->cols;
        }
    }
    return n;
}

static int read_info(struct stile_model *m, struct stile_error *error)
{
    const struct gguf *gguf = m->model->gguf;
    const struct hparams *h = &m->model->hparams;
    struct stile_model_info *info = &m->info;
    *info = (struct stile_model_info){
        .path = m->path,
        .architecture = h->architecture,
        .name = "",
        .license = "",
        .tokenizer = tokenizer_model(m->tokenizer),
        .pretokenizer = tokenizer_pre(m->tokenizer),
        .n_shards = gguf->n_shards,
        .n_layers = h->n_layers,
        .d_model = h->d_model,
        .d_ff = h->n_experts > 0 ? h->d_ff_expert : h->d_ff,
        .n_experts = h->n_experts,
        .n_experts_used = h->n_experts_used,
        .n_heads = h->n_heads,
        .n_kv_heads = h->n_kv_heads,
        .head_dim = h->head_dim,
        .sliding_window = h->window,
        .n_ctx_trained = h->n_ctx_trained,
        .n_vocab = h->n_vocab,
        .n_tensors = (uint32_t)gguf->n_tensors,
    };
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        info->n_parameters += gguf->tensors[i].n_elements;
        info->size_bytes += gguf->tensors[i].size_bytes;
    }
    info->n_parameters_active = info->n_parameters - idle_parameters(m->model);
    int failed = gguf_get_string(gguf, "general.name", &info->name, error);
    if (!failed) failed = gguf_get_string(gguf, "general.license", &info->license, error);
    if (!failed) failed = gguf_get_string(gguf, "tokenizer.chat_template", &info->chat_template, error);
    return failed;
}

static int check_vocabulary(const struct stile_model *m, struct stile_error *error)
{
    size_t n_tokens = tokenizer_size(m->tokenizer), n_rows = m->model->hparams.n_vocab;
    if (n_tokens == n_rows) return 0;
    return error_set(error, STILE_ERROR_MALFORMED,
                     "%s: tokenizer.ggml.tokens: %zu tokens, but the embedding has %zu rows", m->path, n_tokens,
                     n_rows);
}

/* Builds what a model is made of; takes over the gguf, which was begun to be opened at begin_ns. */
static int build(struct stile_model *m, struct gguf *gguf, uint64_t begin_ns, struct stile_error *error)
{
    uint64_t opened_ns = clock_ns();
    int failed = model_create(&m->model, gguf, error);
    if (failed) return failed;
    uint64_t mapped_ns = clock_ns();
    failed = tokenizer_create(&m->tokenizer, gguf, error);
    if (!failed) failed = check_vocabulary(m, error);
    if (!failed) failed = program_create(&m->program, m->model, error);
    if (!failed) failed = read_info(m, error);
    if (!failed) failed = gguf_check_maps(gguf, error);
    m->times = (struct stile_load_times){opened_ns - begin_ns, mapped_ns - opened_ns, clock_ns() - mapped_ns};
    return failed;
}

int loaded_create(struct stile_model **model, const char *path, struct gguf *gguf, uint64_t begin_ns,
                  struct stile_error *error)
{
    struct stile_model *m = calloc(1, sizeof *m);
    char *copy = strdup(path);
    if (!m || !copy) {
        gguf_close(gguf);
        free(m);
        free(copy);
        return error_memory(error, sizeof *m, "a model");
    }
    pthread_mutex_init(&m->chat_lock, NULL);
    m->path = copy;
    int failed = build(m, gguf, begin_ns, error);
    if (failed) {
        stile_model_close(m);
        return failed;
    }
    *model = m;
    return 0;
}

int stile_model_open(struct stile_model **model, const char *path, struct stile_error *error)
{
    char found[4096];
    struct gguf *gguf;
    int failed = stile_model_find(path, found, sizeof found, error);
    uint64_t begin_ns = clock_ns();
    if (!failed) failed = folder_or_file_open(&gguf, found, error);
    return failed ? failed : loaded_create(model, found, gguf, begin_ns, error);
}

int loaded_synthetic(struct synthetic **synthetic, const char *name, const char *format, struct stile_error *error)
{
    const struct shape *shape = shape_find(name);
    if (!shape)
        return error_set(error, STILE_ERROR_ARGUMENT, "no shape \"%s\" is known (`stile bench --shapes` lists them)",
                         name);
    return synthetic_create(synthetic, shape, format, 0, error);
}

int stile_model_synthesize(struct stile_model **model, const char *shape, const char *format, struct stile_error *error)
{
    struct synthetic *synthetic;
    struct gguf *gguf;
    char name[256];
    uint64_t begin_ns = clock_ns();
    int failed = loaded_synthetic(&synthetic, shape, format, error);
    if (failed) return failed;
    failed = synthetic_open(synthetic, NULL, &gguf, error);
    synthetic_free(synthetic);
    snprintf(name, sizeof name, "%s in %s", shape, format);
    return failed ? failed : loaded_create(model, name, gguf, begin_ns, error);
}

int stile_shape_write(const char *shape, const char *format, const char *path,
                      int (*on_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes), void *user,
                      struct stile_error *error)
{
    struct synthetic *synthetic;
    int failed = loaded_synthetic(&synthetic, shape, format, error);
    if (failed) return failed;
    struct synthetic_options options = {.on_progress = on_progress, .user = user};
    failed = synthetic_write(synthetic, path, &options, error);
    synthetic_free(synthetic);
    return failed;
}

const char *stile_shape_name(size_t i)
{
    return i < n_shapes ? shapes[i].id : NULL;
}

void stile_model_close(struct stile_model *model)
{
    if (!model) return;
    chat_template_free(model->chat);
    program_free(model->program);
    tokenizer_free(model->tokenizer);
    model_free(model->model);
    pthread_mutex_destroy(&model->chat_lock);
    free(model->path);
    free(model);
}

const struct stile_model_info *stile_model_info(const struct stile_model *model)
{
    return &model->info;
}

void stile_model_load_times(const struct stile_model *model, struct stile_load_times *times)
{
    *times = model->times;
}

static int by_size(const void *a, const void *b)
{
    const struct stile_format_share *x = a, *y = b;
    if (x->size_bytes != y->size_bytes) return x->size_bytes < y->size_bytes ? 1 : -1;
    return strcmp(x->format, y->format);
}

size_t stile_model_formats(const struct stile_model *model, struct stile_format_share *shares, size_t capacity)
{
    struct stile_format_share all[FORMAT_COUNT] = {0};
    const struct gguf *gguf = model->model->gguf;
    size_t n = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct stile_format_share *share = &all[gguf->tensors[i].format];
        share->n_tensors++;
        share->n_parameters += gguf->tensors[i].n_elements;
        share->size_bytes += gguf->tensors[i].size_bytes;
    }
    for (uint32_t i = 0; i < FORMAT_COUNT; i++) {
        if (all[i].n_tensors == 0) continue;
        all[n] = all[i];
        all[n++].format = format_info(i)->name;
    }
    qsort(all, n, sizeof *all, by_size);
    for (size_t i = 0; i < n && i < capacity; i++)
        shares[i] = all[i];
    return n;
}

int stile_model_tensor(const struct stile_model *model, uint32_t i, struct stile_tensor_info *tensor)
{
    const struct gguf *gguf = model->model->gguf;
    if (i >= gguf->n_tensors) return STILE_ERROR_ARGUMENT;
    const struct gguf_tensor *t = &gguf->tensors[i];
    *tensor = (struct stile_tensor_info){
        .name = t->name,
        .format = format_info(t->format)->name,
        .n_dims = t->n_dims,
        .dims = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]},
        .size_bytes = t->size_bytes,
        .offset_bytes = t->offset_bytes,
        .shard = t->shard,
    };
    return 0;
}
