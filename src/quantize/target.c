#include "quantize/target.h"

#include "quantize/choose.h"
#include "quantize/measure.h"

#include <stdlib.h>
#include <string.h>

/* What can be chosen. Formats with blocks of 32 are for rows that have no whole blocks of 256, where the others are
 * better for their size. */
static const struct {
    enum format format;
    bool small_blocks;
} ladder[] = {
    {FORMAT_IQ1_S, false}, {FORMAT_IQ1_M, false},  {FORMAT_IQ2_XXS, false}, {FORMAT_IQ2_XS, false},
    {FORMAT_IQ2_S, false}, {FORMAT_Q2_K, false},   {FORMAT_IQ3_XXS, false}, {FORMAT_IQ3_S, false},
    {FORMAT_Q3_K, false},  {FORMAT_IQ4_XS, false}, {FORMAT_MXFP4, true},    {FORMAT_Q4_0, true},
    {FORMAT_IQ4_NL, true}, {FORMAT_Q4_K, false},   {FORMAT_NVFP4, false},   {FORMAT_Q4_1, true},
    {FORMAT_Q5_0, true},   {FORMAT_Q5_K, false},   {FORMAT_Q5_1, true},     {FORMAT_Q6_K, false},
    {FORMAT_Q8_0, false},
};
enum { N_LADDER = sizeof ladder / sizeof *ladder, SUPER_BLOCK = 256, PADDING_BYTES = 32, SCALE_HEADER_BYTES = 96 };

/* Further from the average than this no format is worth a look. */
static const double bits_below = 2.6, bits_above = 5;

static double bits_of(enum format format)
{
    const struct format_info *info = format_info(format);
    return 8.0 * info->block_bytes / info->block_elements;
}

static uint64_t padded(uint64_t n)
{
    return (n + PADDING_BYTES - 1) / PADDING_BYTES * PADDING_BYTES;
}

/* Of a tensor in a format, with what goes along. */
static uint64_t size_of(const struct table_tensor *t, enum format format)
{
    uint64_t row_bytes = 0;
    format_row_bytes(format, t->cols, &row_bytes);
    uint64_t scales_bytes = format == FORMAT_NVFP4 ? SCALE_HEADER_BYTES + padded(4 * t->n_experts) : 0;
    return padded(t->rows * row_bytes) + scales_bytes;
}

static bool is_chosen(const struct table_tensor *t)
{
    return t->matrix && !t->fixed;
}

static bool suits(const struct table_tensor *t, size_t rung)
{
    return measure_fits(t, ladder[rung].format) && (!ladder[rung].small_blocks || t->cols % SUPER_BLOCK != 0) &&
           table_allowed(t, ladder[rung].format) == ladder[rung].format;
}

/* ---- the budget ---------------------------------------------------------------------------------- */

/* Bytes for what is chosen: what the target leaves beside everything else. */
static int find_budget(const struct table *table, const struct target *target, uint64_t header_bytes,
                       uint64_t *budget_bytes, double *bits, struct stile_error *error)
{
    uint64_t other_bytes = 0, n_parameters = 0, n_chosen = 0;
    for (size_t i = 0; i < table->n; i++) {
        const struct table_tensor *t = &table->tensors[i];
        n_parameters += t->rows * t->cols;
        if (is_chosen(t))
            n_chosen += t->rows * t->cols;
        else
            other_bytes += t->matrix || t->weight ? size_of(t, t->format) : padded(t->in->size_bytes);
    }
    if (n_chosen == 0) return error_set(error, STILE_ERROR_ARGUMENT, "the recipe leaves nothing to choose formats for");
    uint64_t all_bytes = (uint64_t)(target->bits_per_weight / 8 * (double)n_parameters);
    if (target->file_bytes > 0) all_bytes = target->file_bytes > header_bytes ? target->file_bytes - header_bytes : 0;
    *budget_bytes = all_bytes > other_bytes ? all_bytes - other_bytes : 0;
    *bits = 8 * (double)*budget_bytes / (double)n_chosen;
    return 0;
}

/* ---- choices ------------------------------------------------------------------------------------- */

struct choosing {
    struct table *table;
    enum format formats[N_LADDER]; /* those that are measured */
    size_t n_formats;
    double *shares; /* (n_tensors, n_formats) */
    /* of tensors that are chosen for, in order */
    struct choose_item *items;
    struct choice *choices; /* (n_tensors, n_formats + 1) */
    enum format *chosen;    /* the same: formats of the choices */
    size_t n;
};

static void pick_formats(struct choosing *c, double bits)
{
    for (size_t r = 0; r < N_LADDER; r++) {
        bool near = bits_of(ladder[r].format) > bits - bits_below && bits_of(ladder[r].format) < bits + bits_above;
        bool used = false;
        for (size_t i = 0; i < c->table->n; i++)
            used |= is_chosen(&c->table->tensors[i]) && suits(&c->table->tensors[i], r);
        if (near && used) c->formats[c->n_formats++] = ladder[r].format;
    }
}

static bool suits_format(const struct table_tensor *t, enum format format)
{
    for (size_t r = 0; r < N_LADDER; r++)
        if (ladder[r].format == format) return suits(t, r);
    return false;
}

static void add_item(struct choosing *c, size_t tensor)
{
    const struct table_tensor *t = &c->table->tensors[tensor];
    size_t first = c->n * (c->n_formats + 1);
    struct choose_item *item = &c->items[c->n++];
    double weight = target_weight(c->table, t);
    *item = (struct choose_item){.choices = c->choices + first};
    for (size_t f = 0; f < c->n_formats; f++) {
        enum format format = c->formats[f];
        if (format == t->in->format || !suits_format(t, format)) continue;
        c->choices[first + item->n_choices] =
            (struct choice){size_of(t, format), weight * c->shares[tensor * c->n_formats + f]};
        c->chosen[first + item->n_choices++] = format;
    }
    /* as it is: nothing is lost */
    c->choices[first + item->n_choices] = (struct choice){size_of(t, t->in->format), 0};
    c->chosen[first + item->n_choices++] = t->in->format;
}

static int solve(struct choosing *c, uint64_t budget_bytes, uint64_t other_bytes, struct stile_error *error)
{
    struct choose_result result;
    bool possible;
    for (size_t i = 0; i < c->table->n; i++)
        if (is_chosen(&c->table->tensors[i])) add_item(c, i);
    int failed = choose(c->items, c->n, budget_bytes, &result, &possible, error);
    if (failed) return failed;
    if (!possible)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "the model cannot be made so small: with the smallest formats it has %.0f MB",
                         1e-6 * (double)(result.least_bytes + other_bytes));
    for (size_t i = 0, at = 0; i < c->table->n; i++) {
        struct table_tensor *t = &c->table->tensors[i];
        if (!is_chosen(t)) continue;
        t->format = c->chosen[at * (c->n_formats + 1) + c->items[at].chosen];
        at++;
    }
    return 0;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

int target_choose(struct table *table, const struct target *target, uint64_t header_bytes,
                  const struct convert_options *options, struct stile_error *error)
{
    struct choosing c = {.table = table};
    uint64_t budget_bytes = 0, all_bytes = target->file_bytes;
    double bits = 0;
    int failed = find_budget(table, target, header_bytes, &budget_bytes, &bits, error);
    if (failed) return failed;
    pick_formats(&c, bits);
    size_t n_most = table->n * (c.n_formats + 1);
    c.shares = calloc(n_most, sizeof *c.shares);
    c.items = calloc(table->n, sizeof *c.items);
    c.choices = calloc(n_most, sizeof *c.choices);
    c.chosen = calloc(n_most, sizeof *c.chosen);
    if (!c.shares || !c.items || !c.choices || !c.chosen)
        failed = error_memory(error, n_most * sizeof *c.choices, "choosing formats");
    if (!failed) failed = measure_errors(table, c.formats, c.n_formats, c.shares, options, error);
    if (!failed) failed = solve(&c, budget_bytes, all_bytes > budget_bytes ? all_bytes - budget_bytes : 0, error);
    free(c.shares);
    free(c.items);
    free(c.choices);
    free(c.chosen);
    return failed;
}

/* ---- what errors cost ---------------------------------------------------------------------------- */

/* Kullback-Leibler divergence of the model's predictions, in nats, per share of error in one matrix of this role: in a
 * layer of the middle, in the first one, in the last ones. Measured with SmolLM2-135M (30 layers) and text it was not
 * trained to imitate, rounding a few layers of a role at a time to Q4_0, over what measure_errors says of it; what hardly
 * mattered there at either end is given half of the middle here, for models differ. Layers of deeper models are smaller
 * parts of what all layers add up to. */
enum { LAYERS_MEASURED = 30, LAST_OF = 15 /* the last ones are a fifteenth */ };
static const struct cost {
    double middle, first, last;
} costs[ROLE_COUNT] = {
    [ROLE_TOKEN_EMBD] = {0.5, 0.5, 0.5}, /* looked up alone */
    [ROLE_OUTPUT] = {11, 11, 11},        /* straight into the logits */
    [ROLE_ATTN_Q] = {0.08, 0.04, 0.04},
    [ROLE_ATTN_K] = {0.08, 0.04, 0.04},
    [ROLE_ATTN_V] = {0.46, 0.23, 0.23},
    [ROLE_ATTN_OUTPUT] = {0.08, 0.27, 0.04},
    [ROLE_FFN_GATE] = {0.083, 0.165, 0.29},
    [ROLE_FFN_UP] = {0.13, 0.30, 0.80},
    [ROLE_FFN_DOWN] = {0.25, 0.80, 1.2},
    [ROLE_FFN_GATE_EXPERTS] = {0.083, 0.165, 0.29},
    [ROLE_FFN_UP_EXPERTS] = {0.13, 0.30, 0.80},
    [ROLE_FFN_DOWN_EXPERTS] = {0.25, 0.80, 1.2},
};

double target_weight(const struct table *table, const struct table_tensor *tensor)
{
    const struct model *model = table->model;
    uint32_t n_layers = model->hparams.n_layers, n_last = (n_layers + LAST_OF - 1) / LAST_OF;
    enum role role = tensor->weight == model_output(model) ? ROLE_OUTPUT : tensor->role;
    const struct cost *cost = &costs[role];
    if (role < ROLE_LAYER_FIRST) return cost->middle;
    double one = tensor->layer == 0 ? cost->first : tensor->layer + n_last >= n_layers ? cost->last : cost->middle;
    return one * LAYERS_MEASURED / n_layers;
}
