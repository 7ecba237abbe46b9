/* table.h - the tensors of a file that is made from a model: which there are, in which formats, and where they lie.
 *
 * Matrices get the formats that are asked for; norms, biases and routers are F32 (what a model's arithmetic is most
 * sensitive to, and small); what is no weight of the model is copied as it is. A weight in NVFP4 has its second scale in
 * a tensor beside it, "X.scale" for "X.weight". Embedding and output head are not given that format: other programs do
 * not look for such scales there.
 */
#ifndef STILE_QUANTIZE_TABLE_H
#define STILE_QUANTIZE_TABLE_H

#include "base/buffer.h"
#include "model/mix.h"
#include "quantize/imatrix.h"
#include "quantize/recipe.h"

enum { TABLE_NAME_BYTES = 64, TABLE_NONE = -1 };

struct table_tensor {
    char name[TABLE_NAME_BYTES];
    const struct gguf_tensor *in; /* NULL: the scales of the tensor before, which are made with it */
    const struct weight *weight;  /* of the model; NULL: no weight, or scales */
    enum role role;               /* of a weight */
    uint32_t layer;
    bool matrix; /* the format may be chosen */
    bool fixed;  /* a recipe chose it */
    bool made;   /* by a method of its own (gptq.h) */
    enum format format;
    uint64_t rows; /* of all experts together */
    uint64_t cols;
    uint64_t n_experts;                /* 1 where there are none */
    const float *importance;           /* (n_experts, cols); NULL: all columns are worth the same */
    uint64_t offset_bytes, size_bytes; /* in the data of the file that is made */
};

struct table {
    const struct model *model;
    struct table_tensor *tensors;
    size_t n;
    struct buffer header; /* all that goes before the data */
    uint64_t size_bytes;  /* of the whole file */
};

/* The tensors of a model, each in the format that it has. `imatrix` may be NULL; it must outlive the table. */
int table_create(struct table *table, const struct model *model, const struct imatrix *imatrix,
                 struct stile_error *error);
void table_free(struct table *table);
/* The format or, where a tensor should not or cannot have it, one of about the same size. */
enum format table_allowed(const struct table_tensor *tensor, enum format format);
/* Formats of all matrices. */
void table_use_mix(struct table *table, const struct mix *mix, bool imatrix);
/* And of those that a recipe names. ARGUMENT when it has a rule for none of them. */
int table_use_recipe(struct table *table, struct recipe *recipe, struct stile_error *error);
/* Bytes of everything before the data, as table_finish will make it, but for second scales. */
int table_header_bytes(const struct table *table, const struct imatrix *imatrix, const char *imatrix_path,
                       uint64_t *header_bytes, struct stile_error *error);
/* After formats were chosen: adds and drops scales, and puts together header and offsets. */
int table_finish(struct table *table, uint32_t file_type, const struct imatrix *imatrix, const char *imatrix_path,
                 struct stile_error *error);

/* Is a tensor, byte for byte, what it was? Where rows change places it is not. */
static inline bool table_is_copied(const struct table_tensor *tensor)
{
    return tensor->in && tensor->format == tensor->in->format && tensor->in->head_rows == 0;
}
/* Is it one whose numbers were rounded to few bits? */
bool table_is_quantized(enum format format);

#endif
