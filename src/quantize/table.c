#include "quantize/table.h"

#include "file/gguf_header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char weight_suffix[] = ".weight", scale_suffix[] = ".scale";

bool table_is_quantized(enum format format)
{
    return format_info(format)->block_elements > 1;
}

/* ---- what there is ------------------------------------------------------------------------------- */

static void set_weight(struct table *table, const struct weight *weight, enum role role, uint32_t layer,
                       const struct imatrix *imatrix)
{
    if (!weight->tensor) return;
    struct table_tensor *t = &table->tensors[weight->tensor - table->model->gguf->tensors];
    t->weight = weight;
    t->role = role;
    t->layer = layer;
    t->matrix = !weight->floats && role != ROLE_FFN_ROUTER;
    t->n_experts = weight->n_experts > 0 ? weight->n_experts : 1;
    t->rows = weight->rows * t->n_experts;
    t->cols = weight->cols;
    if (imatrix && t->matrix) t->importance = imatrix_find(imatrix, t->name, t->cols, t->n_experts);
    if (t->matrix) return;
    t->format = FORMAT_F32;
    if (t->in->head_rows > 0) { /* so that its elements change places as rows do */
        t->rows = weight->cols;
        t->cols = 1;
    }
}

int table_create(struct table *table, const struct model *model, const struct imatrix *imatrix,
                 struct stile_error *error)
{
    const struct gguf *gguf = model->gguf;
    *table = (struct table){.model = model, .n = gguf->n_tensors};
    table->tensors = calloc(table->n + 1, sizeof *table->tensors);
    if (!table->tensors) return error_memory(error, table->n * sizeof *table->tensors, "the table of tensors");
    for (size_t i = 0; i < table->n; i++) {
        struct table_tensor *t = &table->tensors[i];
        const struct gguf_tensor *in = &gguf->tensors[i];
        *t = (struct table_tensor){.in = in, .role = ROLE_COUNT, .format = in->format, .n_experts = 1};
        snprintf(t->name, sizeof t->name, "%s", in->name);
        t->cols = in->dims[0];
        t->rows = in->n_elements > 0 ? in->n_elements / in->dims[0] : 0;
    }
    for (enum role role = 0; role < ROLE_LAYER_FIRST; role++)
        set_weight(table, &model->globals[role], role, 0, imatrix);
    for (uint32_t layer = 0; layer < model->hparams.n_layers; layer++)
        for (enum role role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++)
            set_weight(table, &model->layers[layer][role], role, layer, imatrix);
    return 0;
}

void table_free(struct table *table)
{
    buffer_free(&table->header);
    free(table->tensors);
    *table = (struct table){0};
}

/* ---- formats ------------------------------------------------------------------------------------- */

enum format table_allowed(const struct table_tensor *tensor, enum format format)
{
    if (format == FORMAT_NVFP4 && tensor->role < ROLE_LAYER_FIRST) format = FORMAT_Q4_K;
    return mix_fitting(format, tensor->cols);
}

void table_use_mix(struct table *table, const struct mix *mix, bool imatrix)
{
    const struct model *model = table->model;
    bool tied = model_output(model) == &model->globals[ROLE_TOKEN_EMBD];
    for (size_t i = 0; i < table->n; i++) {
        struct table_tensor *t = &table->tensors[i];
        if (t->matrix)
            t->format = mix_format(mix, mix_class_of(t->role, tied), &model->hparams, t->layer, t->cols, imatrix);
    }
}

int table_use_recipe(struct table *table, struct recipe *recipe, struct stile_error *error)
{
    for (size_t i = 0; i < table->n; i++) {
        struct table_tensor *t = &table->tensors[i];
        const struct recipe_rule *rule = t->matrix ? recipe_find(recipe, t->name) : NULL;
        if (!rule) continue;
        t->format = table_allowed(t, rule->format);
        t->fixed = true;
    }
    return recipe_check(recipe, error);
}

/* ---- scales -------------------------------------------------------------------------------------- */

/* "X" of "X" + suffix; 0 when it ends differently. */
static size_t stem_of(const char *name, const char *suffix)
{
    size_t n = strlen(name), n_suffix = strlen(suffix);
    return n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0 ? n - n_suffix : 0;
}

/* Is it the second scale of a weight that is encoded anew? */
static bool is_stale(const struct table *table, const struct table_tensor *t)
{
    char name[TABLE_NAME_BYTES + sizeof weight_suffix];
    size_t n = stem_of(t->name, scale_suffix);
    if (n == 0 || t->weight) return false;
    snprintf(name, sizeof name, "%.*s%s", (int)n, t->name, weight_suffix);
    const struct gguf_tensor *in = gguf_find_tensor(table->model->gguf, name);
    if (!in || in->format != FORMAT_NVFP4) return false;
    return !table_is_copied(&table->tensors[in - table->model->gguf->tensors]);
}

static bool needs_scales(const struct table_tensor *t)
{
    return t->weight && t->format == FORMAT_NVFP4 && !table_is_copied(t) && stem_of(t->name, weight_suffix) > 0;
}

/* The tensors in their order, without stale scales and with those that are made. */
static int place_scales(struct table *table, struct stile_error *error)
{
    struct table_tensor *all = calloc(2 * table->n + 1, sizeof *all);
    size_t n = 0;
    if (!all) return error_memory(error, 2 * table->n * sizeof *all, "the table of tensors");
    for (size_t i = 0; i < table->n; i++) {
        const struct table_tensor *t = &table->tensors[i];
        if (is_stale(table, t)) continue;
        all[n++] = *t;
        if (!needs_scales(t)) continue;
        struct table_tensor *scales = &all[n++];
        *scales = (struct table_tensor){
            .role = ROLE_COUNT, .format = FORMAT_F32, .rows = 1, .cols = t->n_experts, .n_experts = 1};
        snprintf(scales->name, sizeof scales->name, "%.*s%s", (int)stem_of(t->name, weight_suffix), t->name,
                 scale_suffix);
    }
    free(table->tensors);
    table->tensors = all;
    table->n = n;
    return 0;
}

/* ---- the header ---------------------------------------------------------------------------------- */

static const char file_type_key[] = "general.file_type", version_key[] = "general.quantization_version";
enum { QUANTIZATION_VERSION = 2 };

/* What says how a file was made, not what the model is, is said anew, in its old place where it has one. */
static void put_key(struct gguf_header *header, const struct gguf_kv *kv, uint32_t file_type, bool imatrix)
{
    static const char split[] = "split.", of_imatrix[] = "quantize.imatrix.";
    if (strcmp(kv->key, file_type_key) == 0)
        gguf_header_u32(header, file_type_key, file_type);
    else if (strcmp(kv->key, version_key) == 0)
        gguf_header_u32(header, version_key, QUANTIZATION_VERSION);
    else if (strncmp(kv->key, split, strlen(split)) != 0 &&
             !(imatrix && strncmp(kv->key, of_imatrix, strlen(of_imatrix)) == 0))
        gguf_header_copy(header, kv);
}

static void put_keys(struct gguf_header *header, const struct gguf *gguf, uint32_t file_type,
                     const struct imatrix *imatrix, const char *imatrix_path)
{
    for (size_t i = 0; i < gguf->n_kv; i++)
        put_key(header, &gguf->kv[i], file_type, imatrix != NULL);
    if (!gguf_find(gguf, file_type_key)) gguf_header_u32(header, file_type_key, file_type);
    if (!gguf_find(gguf, version_key)) gguf_header_u32(header, version_key, QUANTIZATION_VERSION);
    if (!imatrix) return;
    gguf_header_string(header, "quantize.imatrix.file", imatrix_path);
    if (*imatrix->dataset) gguf_header_string(header, "quantize.imatrix.dataset", imatrix->dataset);
    gguf_header_u32(header, "quantize.imatrix.entries_count", (uint32_t)imatrix->n_entries);
    if (imatrix->n_chunks > 0) gguf_header_u32(header, "quantize.imatrix.chunks_count", imatrix->n_chunks);
}

/* Where the tensors lie: offsets are set in `places`, which may be NULL. */
static int put_all(const struct table *table, uint32_t file_type, const struct imatrix *imatrix,
                   const char *imatrix_path, struct table_tensor *places, struct buffer *out, uint64_t *data_bytes,
                   struct stile_error *error)
{
    const struct gguf *gguf = table->model->gguf;
    struct gguf_header header;
    uint64_t alignment = GGUF_HEADER_ALIGNMENT;
    int failed = gguf_get_u64(gguf, "general.alignment", 1, UINT32_MAX, &alignment, error);
    if (failed) return failed;
    gguf_header_init(&header, NULL);
    header.alignment = (uint32_t)alignment;
    put_keys(&header, gguf, file_type, imatrix, imatrix_path);
    for (size_t i = 0; i < table->n; i++) {
        const struct table_tensor *t = &table->tensors[i];
        uint32_t n_dims = t->in && t->in->n_dims > 0 ? t->in->n_dims : 1;
        uint64_t offset = gguf_header_tensor(&header, t->name, t->format, n_dims, t->in ? t->in->dims : &t->cols);
        if (!places) continue;
        places[i].offset_bytes = offset;
        places[i].size_bytes = header.data_bytes - offset;
    }
    gguf_header_finish(&header, out);
    *data_bytes = header.data_bytes;
    gguf_header_free(&header);
    return out->failed ? error_memory(error, header.data_bytes, "the header of a file") : 0;
}

int table_header_bytes(const struct table *table, const struct imatrix *imatrix, const char *imatrix_path,
                       uint64_t *header_bytes, struct stile_error *error)
{
    struct buffer header = {0};
    uint64_t data_bytes;
    int failed = put_all(table, 0, imatrix, imatrix_path, NULL, &header, &data_bytes, error);
    *header_bytes = header.n;
    buffer_free(&header);
    return failed;
}

int table_finish(struct table *table, uint32_t file_type, const struct imatrix *imatrix, const char *imatrix_path,
                 struct stile_error *error)
{
    uint64_t data_bytes;
    int failed = place_scales(table, error);
    if (!failed)
        failed = put_all(table, file_type, imatrix, imatrix_path, table->tensors, &table->header, &data_bytes, error);
    if (!failed) table->size_bytes = table->header.n + data_bytes;
    return failed;
}
