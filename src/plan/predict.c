#include "plan/predict.h"

#include <math.h>
#include <string.h>

/* ---- ranges --------------------------------------------------------------------------------- */

/* Which end of every range a calculation takes. */
enum end { END_VALUE, END_LOW, END_HIGH };

static double of(const struct plan_range *range, enum end end)
{
    return end == END_VALUE ? range->value : end == END_LOW ? range->low : range->high;
}

/* For what costs time: the low end of speed is the high one of time. */
static double cost_of(const struct plan_range *range, enum end end)
{
    return end == END_VALUE ? range->value : end == END_LOW ? range->high : range->low;
}

/* ---- weights as they are, or as they would be ----------------------------------------------- */

static enum role role_of(const struct model *model, const struct op *op)
{
    const struct weight *first = op->layer >= 0 ? model->layers[op->layer] : model->globals;
    return (enum role)(op->weight - first);
}

static enum format format_of(const struct plan_request *request, const struct op *op)
{
    const struct model *model = request->program->model;
    if (!request->mix || op->weight->rows == 1) return op->weight->format;
    enum role role = role_of(model, op);
    /* routers stay as they are; so do norms */
    if (role == ROLE_FFN_ROUTER) return op->weight->format;
    bool tied = model_output(model) == &model->globals[ROLE_TOKEN_EMBD];
    return mix_format(request->mix, mix_class_of(role, tied), &model->hparams, op->layer >= 0 ? (uint32_t)op->layer : 0,
                      op->weight->cols, false);
}

/* How many times as large the operation's weight is in the format asked for. */
static double scale_of(const struct op *op, enum format format)
{
    uint64_t row_bytes;
    if (format == op->weight->format || !format_row_bytes(format, op->weight->cols, &row_bytes)) return 1;
    return (double)row_bytes / (double)op->weight->row_bytes;
}

struct sizes {
    uint64_t dense_bytes, expert_bytes;
};

/* All matrices, each once: an embedding that is the output head too is in the program twice. */
static struct sizes weigh(const struct plan_request *request)
{
    const struct program *program = request->program;
    struct sizes sizes = {0};
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        if (op->kind != OP_EMBED && op->kind != OP_MATMUL && op->kind != OP_EXPERTS) continue;
        if (op->kind == OP_EMBED && op->weight == model_output(program->model)) continue;
        uint64_t n = op->weight->n_experts > 0 ? op->weight->n_experts : 1;
        double size_bytes =
            scale_of(op, format_of(request, op)) * (double)(n * op->weight->rows) * (double)op->weight->row_bytes;
        *(op->kind == OP_EXPERTS ? &sizes.expert_bytes : &sizes.dense_bytes) += (uint64_t)llround(size_bytes);
    }
    return sizes;
}

/* ---- placing -------------------------------------------------------------------------------- */

struct placing {
    double dense[PLAN_TIERS_MAX], experts[PLAN_TIERS_MAX]; /* shares */
};

/* Puts size_bytes on the tiers from the first on, as far as there is room; what it cannot place is returned. */
static uint64_t put(const struct plan_machine *machine, uint64_t *room, uint64_t size_bytes, bool computing_only,
                    uint64_t placed[PLAN_TIERS_MAX])
{
    for (int t = 0; t < machine->n_tiers; t++) {
        placed[t] = 0;
        if (computing_only && !machine->tiers[t].computes) continue;
        placed[t] = size_bytes < room[t] ? size_bytes : room[t];
        room[t] -= room[t] == UINT64_MAX ? 0 : placed[t];
        size_bytes -= placed[t];
    }
    return size_bytes;
}

/* As a placement says: what is streamed is on the second tier, and what the cache of experts does not hold; so is the
 * embedding, of which a row is read for each token. */
static void place_given(struct plan *plan, const struct placement *placement, const struct sizes *sizes,
                        struct placing *placing)
{
    const uint64_t *tiers = placement->tier_bytes;
    uint64_t kept = placement->cache_bytes < tiers[TIER_CACHED] ? placement->cache_bytes : tiers[TIER_CACHED];
    double dense = (double)(sizes->dense_bytes > 0 ? sizes->dense_bytes : 1), cached = (double)tiers[TIER_CACHED];
    plan->places[0].other_bytes += placement->n_slots * placement->slot_bytes;
    plan->places[0].expert_bytes = kept;
    plan->places[0].dense_bytes = placement->resident_bytes;
    plan->places[1].expert_bytes = tiers[TIER_CACHED] - kept;
    plan->places[1].dense_bytes = sizes->dense_bytes + sizes->expert_bytes - tiers[TIER_RESIDENT] - tiers[TIER_CACHED];
    placing->dense[1] = (double)tiers[TIER_STREAMED] / dense;
    placing->dense[0] = 1 - placing->dense[1];
    placing->experts[1] = cached > 0 ? 1 - (double)kept / cached : 0;
    placing->experts[0] = 1 - placing->experts[1];
    plan->fits = tiers[TIER_STREAMED] == 0 && plan->places[1].expert_bytes == 0;
}

static void place(struct plan *plan, const struct plan_request *request, const struct plan_machine *machine,
                  const struct sizes *sizes, struct placing *placing)
{
    uint64_t room[PLAN_TIERS_MAX] = {0}, placed[PLAN_TIERS_MAX], left = 0;
    for (int t = 0; t < machine->n_tiers; t++)
        room[t] = machine->tiers[t].capacity_bytes;
    if (request->capacity_bytes > 0 && request->capacity_bytes < room[0]) room[0] = request->capacity_bytes;
    left += put(machine, room, plan->memory.activations_bytes + plan->memory.other_bytes, true, placed);
    for (int t = 0; t < machine->n_tiers; t++)
        plan->places[t].other_bytes = placed[t];
    left += put(machine, room, plan->memory.kv_bytes, true, placed);
    for (int t = 0; t < machine->n_tiers; t++)
        plan->places[t].kv_bytes = placed[t];
    if (request->placement && machine->n_tiers == 2) {
        place_given(plan, request->placement, sizes, placing);
        plan->possible = left == 0;
        return;
    }
    left += put(machine, room, sizes->dense_bytes, false, placed);
    for (int t = 0; t < machine->n_tiers; t++) {
        plan->places[t].dense_bytes = placed[t];
        placing->dense[t] = sizes->dense_bytes ? (double)placed[t] / (double)sizes->dense_bytes : t == 0;
    }
    left += put(machine, room, sizes->expert_bytes, false, placed);
    plan->possible = left == 0;
    plan->fits = plan->possible;
    for (int t = 0; t < machine->n_tiers; t++) {
        plan->places[t].expert_bytes = placed[t];
        placing->experts[t] = sizes->expert_bytes ? (double)placed[t] / (double)sizes->expert_bytes : t == 0;
        if (!machine->tiers[t].computes && plan->places[t].dense_bytes + plan->places[t].expert_bytes > 0)
            plan->fits = false;
    }
}

double plan_expert_hits(uint32_t n_experts, uint32_t n_used, double share, uint64_t n_tokens)
{
    enum { ROUNDS = 16 };
    static const double most = 0.3; /* of the tokens choose one expert */
    double factor = 1, chosen = 0, found = 0;
    if (n_experts == 0 || share >= 1 || n_used >= n_experts) return share < 1 && n_experts > 0 ? share : 1;
    for (int round = 0; round < ROUNDS; round++) { /* until the tokens' choices are n_used together */
        double sum = 0;
        for (uint32_t r = 0; r < n_experts; r++)
            sum += fmin(most, factor / (r + 2 + 0.03 * n_experts));
        factor *= n_used / sum;
    }
    for (uint32_t r = 0; r < n_experts; r++) {
        double missed = 1 - fmin(most, factor / (r + 2 + 0.03 * n_experts));
        double read = 1 - pow(missed, (double)n_tokens), here = share * n_experts - r;
        chosen += read;
        found += read * (here > 1 ? 1 : here > 0 ? here : 0);
    }
    return found / chosen;
}

/* ---- the time of a step --------------------------------------------------------------------- */

/* Seconds, by what they are spent on. */
struct spent {
    double memory, arithmetic, overhead;
    double brought[PLAN_TIERS_MAX]; /* bytes */
    double late[PLAN_TIERS_MAX];    /* beyond these: until it is known what to bring */
    double read[PLAN_TIERS_MAX];    /* bytes */
    bool unknown;
};

struct pricing {
    const struct plan_request *request;
    const struct plan_machine *machine;
    struct placing placing;
    double kept_share; /* of the experts lies where it is computed with */
    enum end end;
};

/* The slower of reading and calculating binds. */
static void add_slower(struct spent *spent, double memory_s, double arithmetic_s)
{
    if (memory_s >= arithmetic_s)
        spent->memory += memory_s;
    else
        spent->arithmetic += arithmetic_s;
}

static double per(double amount, double rate, bool *unknown)
{
    if (amount > 0 && !(rate > 0)) *unknown = true;
    return rate > 0 ? amount / rate : 0;
}

/* Where it is computed what lies on tier t. */
static const struct plan_tier *computing(const struct plan_machine *machine, int t)
{
    return machine->tiers[t].computes ? &machine->tiers[t] : &machine->tiers[0];
}

/* Seconds for the arithmetic of a product of many tokens. */
static double arithmetic_time(const struct pricing *pricing, const struct plan_processor *processor,
                              const struct op *op, const struct cost *cost, enum format format, struct spent *spent)
{
    double macs = (double)cost->macs, n_weights = (double)(op->weight->rows * op->weight->cols);
    if (op->kind == OP_EXPERTS) /* as many matrices as are read */
        n_weights *= (double)cost->weight_bytes / (double)op->weight->expert_bytes;
    double n_tokens = n_weights > 0 ? macs / n_weights : 0; /* of each matrix */
    if (n_tokens < processor->n_few) n_weights *= n_tokens / processor->n_few;
    return per(macs, of(&processor->macs_per_s[format], pricing->end), &spent->unknown) +
           n_weights * processor->weight_s[format] + macs / (double)op->weight->cols * processor->output_s[format];
}

/* The share of the experts' bytes that a step finds where it is computed. */
static double hit_share(const struct pricing *pricing, uint64_t n_tokens)
{
    const struct hparams *h = &pricing->request->program->model->hparams;
    double missed = 1 - plan_expert_hits(h->n_experts, h->n_experts_used, pricing->kept_share, n_tokens);
    return fmax(0, 1 - missed * (1 + pricing->machine->experts_missed));
}

/* Not all experts are wanted for sure (backend/cpu/experts_guess.c). */
static bool is_guessed(const struct hparams *h, uint64_t n_tokens)
{
    return n_tokens * h->n_experts_used < 4 * (uint64_t)h->n_experts;
}

/* A layer that begins to bring experts when it has chosen them. */
static void price_choice(const struct pricing *pricing, uint64_t n, struct spent *spent)
{
    const struct hparams *h = &pricing->request->program->model->hparams;
    if (pricing->kept_share >= 1 || !is_guessed(h, n)) return;
    double all_there = pow(hit_share(pricing, n), (double)(n * h->n_experts_used));
    for (int t = 0; t < pricing->machine->n_tiers; t++)
        if (!pricing->machine->tiers[t].computes && pricing->placing.experts[t] > 0)
            spent->late[t] += (1 - all_there) * pricing->machine->experts_late_s;
}

/* brought_share: of the experts' bytes, what is brought from where nothing computes */
static void price_product(const struct pricing *pricing, const struct op *op, const struct cost *cost, uint64_t n,
                          double brought_share, struct spent *spent)
{
    bool experts = op->kind == OP_EXPERTS;
    enum format format = format_of(pricing->request, op);
    double bytes = (double)cost->weight_bytes * scale_of(op, format);
    for (int t = 0; t < pricing->machine->n_tiers; t++) {
        const struct plan_tier *tier = computing(pricing->machine, t);
        double share = experts ? pricing->placing.experts[t] : pricing->placing.dense[t];
        if (share <= 0) continue;
        double read_s =
            per(share * bytes,
                of(&tier->read_bytes_per_s, pricing->end) * of(&tier->processor.read_share[format], pricing->end),
                &spent->unknown);
        double macs_s = n == 1 ? 0 : share * arithmetic_time(pricing, &tier->processor, op, cost, format, spent);
        add_slower(spent, read_s, macs_s);
        if (n > tier->processor.n_few)
            spent->memory += tier->processor.exposed_share[format] * (read_s < macs_s ? read_s : macs_s);
        spent->read[t] += share * bytes;
        if (!pricing->machine->tiers[t].computes) spent->brought[t] += (experts ? brought_share : share) * bytes;
    }
    spent->overhead += cost_of(&pricing->machine->tiers[0].processor.op_s, pricing->end);
}

static void price_attention(const struct pricing *pricing, const struct cost *cost, uint64_t n, struct spent *spent)
{
    const struct plan_processor *processor = &pricing->machine->tiers[0].processor;
    enum format format = pricing->request->kv_format;
    double n_pairs = (double)cost->macs / (2.0 * pricing->request->program->model->hparams.head_dim);
    spent->arithmetic += n_pairs * (n == 1 ? processor->kv_pair_s : processor->attention_pair_s)[format];
    if (n == 1) {
        spent->memory +=
            per((double)cost->kv_bytes, of(&processor->kv_bytes_per_s[format], pricing->end), &spent->unknown);
        spent->arithmetic +=
            per((double)cost->macs, of(&processor->kv_macs_per_s[format], pricing->end), &spent->unknown);
    } else {
        double rate = of(&processor->kv_bytes_per_s[format], pricing->end);
        double macs_s =
            per((double)cost->macs, of(&processor->attention_macs_per_s[format], pricing->end), &spent->unknown);
        add_slower(spent, rate > 0 ? (double)cost->kv_bytes / rate : 0, macs_s);
    }
    spent->read[0] += (double)cost->kv_bytes;
    spent->overhead += cost_of(&processor->op_s, pricing->end);
}

/* Elements that an operation reads and writes besides weights. */
static double elements_of(const struct op *op, uint64_t n)
{
    double width = op->width;
    switch (op->kind) {
    case OP_MATMUL: return (double)n * (double)op->weight->cols; /* quantized */
    case OP_EXPERTS:
        return (double)n * (double)op->weight->cols * (op->per_expert ? width / (double)op->weight->rows : 1);
    case OP_GLU:
    case OP_ADD: return 2 * (double)n * width;
    case OP_SELECT: return 0;
    default: return (double)n * width;
    }
}

static void price_op(const struct pricing *pricing, const struct op *op, const struct step_shape *shape,
                     double brought_share, struct spent *spent)
{
    uint64_t n = op->selected ? shape->n_selected : shape->n_tokens;
    struct cost cost = op_cost(pricing->request->program, op, shape);
    if (n == 0) return;
    if (op->kind == OP_MATMUL || op->kind == OP_EXPERTS) price_product(pricing, op, &cost, n, brought_share, spent);
    if (op->kind == OP_ROUTE) price_choice(pricing, n, spent);
    if (op->kind == OP_ATTENTION) price_attention(pricing, &cost, n, spent);
    spent->arithmetic += per(elements_of(op, n), of(&pricing->machine->tiers[0].processor.elements_per_s, pricing->end),
                             &spent->unknown);
}

/* Adds a step of n_tokens after n_past others. */
static void price_step(const struct pricing *pricing, uint64_t n_tokens, uint64_t n_past, uint64_t n_selected,
                       struct spent *spent)
{
    const struct step_shape shape = {
        .n_tokens = n_tokens, .n_past = n_past, .n_selected = n_selected, .kv_format = pricing->request->kv_format};
    const struct program *program = pricing->request->program;
    const struct hparams *h = &program->model->hparams;
    double brought_share = 1 - hit_share(pricing, n_tokens);
    if (is_guessed(h, n_tokens)) brought_share *= 1 + pricing->machine->experts_vain;
    for (size_t i = 0; i < program->n_ops; i++)
        price_op(pricing, &program->ops[i], &shape, brought_share, spent);
    const struct plan_processor *processor = &pricing->machine->tiers[0].processor;
    spent->overhead += cost_of(&processor->pass_s, pricing->end) +
                       processor->logit_s * (double)n_selected * program->model->hparams.n_vocab;
}

/* The seconds of what was spent, and what binds. */
static double total_of(const struct pricing *pricing, struct spent *spent, struct plan_estimate *estimate)
{
    const struct plan_machine *machine = pricing->machine;
    double work_s = spent->memory + spent->arithmetic + spent->overhead, longest_s = work_s;
    double alone_s = machine->alone_memory * spent->memory + machine->alone_arithmetic * spent->arithmetic;
    enum plan_bound bound = PLAN_BOUND_MEMORY;
    if (spent->arithmetic > spent->memory) bound = PLAN_BOUND_ARITHMETIC;
    if (spent->overhead > spent->memory && spent->overhead > spent->arithmetic) bound = PLAN_BOUND_OVERHEAD;
    estimate->tier = 0;
    double shorter_s = 0; /* of the work and of what is brought beside it */
    for (int t = 0; t < machine->n_tiers; t++) {
        double rate = of(&machine->tiers[t].read_bytes_per_s, pricing->end);
        double brought_s = per(spent->brought[t], rate, &spent->unknown) + spent->late[t];
        if (brought_s <= longest_s) {
            shorter_s = fmax(shorter_s, brought_s);
            continue;
        }
        shorter_s = work_s;
        longest_s = brought_s;
        bound = PLAN_BOUND_LINK;
        estimate->tier = t;
    }
    if (pricing->end == END_VALUE) estimate->bound_by = spent->unknown ? PLAN_BOUND_UNKNOWN : bound;
    return spent->unknown ? 0 : longest_s + (work_s > 0 ? alone_s / work_s * shorter_s : 0);
}

/* ---- results -------------------------------------------------------------------------------- */

static void set_end(struct plan_estimate *estimate, enum end end, double value, double error)
{
    struct plan_range *range = &estimate->range;
    if (!isfinite(value) || value <= 0) value = 0;
    if (end == END_VALUE)
        range->value = value;
    else if (end == END_LOW)
        range->low = value / (1 + error);
    else
        range->high = value * (1 + error);
}

static void predict_decode(struct plan *plan, const struct pricing *pricing)
{
    const struct plan_request *request = pricing->request;
    uint32_t n = request->n_generated > 0 ? request->n_generated : 1;
    double per_pass = request->tokens_per_pass > 0 ? request->tokens_per_pass : 1;
    uint64_t n_tokens = 1 + (uint64_t)request->n_guessed;
    struct spent spent = {0};
    struct plan_estimate bound = plan->decode_tokens_per_s;
    price_step(pricing, n_tokens, (uint64_t)request->n_depth + n / 2, n_tokens, &spent);
    double pass_s = total_of(pricing, &spent, &bound);
    plan->decode_tokens_per_s.bound_by = bound.bound_by;
    if (pricing->end == END_VALUE) {
        plan->decode_tokens_per_s.tier = bound.tier;
        for (int t = 0; t < pricing->machine->n_tiers; t++) {
            bool computes = pricing->machine->tiers[t].computes;
            plan->token_bytes[t] = (computes ? spent.read[t] : spent.brought[t]) / per_pass;
        }
    }
    set_end(&plan->decode_tokens_per_s, pricing->end, pass_s > 0 ? per_pass / pass_s : 0,
            pricing->machine->decode_error);
}

static void add_times(struct spent *sum, const struct spent *one, double times)
{
    sum->memory += times * one->memory;
    sum->arithmetic += times * one->arithmetic;
    sum->overhead += times * one->overhead;
    for (int t = 0; t < PLAN_TIERS_MAX; t++) {
        sum->brought[t] += times * one->brought[t];
        sum->read[t] += times * one->read[t];
    }
    sum->unknown = sum->unknown || one->unknown;
}

/* Seconds of the prompt. Of very many batches, neighbours are priced as the one in their middle. */
static double prompt_time(const struct pricing *pricing, struct plan_estimate *bound)
{
    enum { GROUPS_MAX = 256 };
    const struct plan_request *request = pricing->request;
    uint64_t n_batch = request->n_batch > 0 ? request->n_batch : 1, n_prompt = request->n_prompt;
    uint64_t n_full = n_prompt > 0 ? (n_prompt - 1) / n_batch : 0; /* before the last one, which gives the logits */
    uint64_t n_groups = n_full < GROUPS_MAX ? n_full : GROUPS_MAX;
    struct spent spent = {0};
    for (uint64_t g = 0; g < n_groups; g++) {
        struct spent one = {0};
        uint64_t first = g * n_full / n_groups, end = (g + 1) * n_full / n_groups;
        price_step(pricing, n_batch, request->n_depth + n_batch * (first + end - 1) / 2, 0, &one);
        add_times(&spent, &one, (double)(end - first));
    }
    if (n_prompt > 0) price_step(pricing, n_prompt - n_full * n_batch, request->n_depth + n_full * n_batch, 1, &spent);
    return total_of(pricing, &spent, bound);
}

static void predict_prompt(struct plan *plan, const struct pricing *pricing)
{
    const struct plan_request *request = pricing->request;
    const struct plan_machine *machine = pricing->machine;
    struct plan_estimate bound = plan->prefill_tokens_per_s;
    double prompt_s = prompt_time(pricing, &bound);
    enum end slow = pricing->end == END_LOW ? END_HIGH : pricing->end == END_HIGH ? END_LOW : END_VALUE;
    double open_s = machine->open_s + machine->open_token_s * request->program->model->hparams.n_vocab;
    double map_s = machine->map_byte_s * (double)plan->memory.weights_bytes;
    double load_rate = of(&machine->load_bytes_per_s, pricing->end);
    double load_s = load_rate > 0 ? (double)plan->memory.weights_bytes / load_rate : 0;
    if (request->placement && load_rate > 0) { /* what stays is read first, from the disk, wherever the file is */
        double stays_bytes = (double)(plan->places[0].dense_bytes + plan->places[0].expert_bytes);
        map_s = stays_bytes / load_rate;
        load_s = 0;
    }
    if (pricing->end == END_VALUE) {
        plan->prefill_tokens_per_s.bound_by = plan->first_warm_s.bound_by = plan->first_cold_s.bound_by =
            bound.bound_by;
        plan->prefill_tokens_per_s.tier = plan->first_warm_s.tier = plan->first_cold_s.tier = bound.tier;
        if (load_s > map_s + prompt_s) {
            plan->first_cold_s.bound_by = PLAN_BOUND_LINK;
            plan->first_cold_s.tier = machine->n_tiers - 1;
        }
        if (load_rate <= 0) plan->first_cold_s.bound_by = PLAN_BOUND_UNKNOWN;
    }
    set_end(&plan->prefill_tokens_per_s, pricing->end, prompt_s > 0 ? request->n_prompt / prompt_s : 0,
            machine->prefill_error);
    if (!(prompt_s > 0)) return;
    set_end(&plan->first_warm_s, slow, open_s + map_s + prompt_s, machine->first_error);
    if (load_rate > 0)
        set_end(&plan->first_cold_s, slow, open_s + (load_s > map_s + prompt_s ? load_s : map_s + prompt_s),
                machine->first_error);
}

void plan_predict(struct plan *plan, const struct plan_request *request, const struct plan_machine *machine)
{
    struct sizes sizes = weigh(request);
    struct pricing pricing = {.request = request, .machine = machine};
    memset(plan, 0, sizeof *plan);
    plan->memory = request->memory;
    plan->memory.weights_bytes = sizes.dense_bytes + sizes.expert_bytes;
    place(plan, request, machine, &sizes, &pricing.placing);
    if (!plan->possible) return;
    for (int t = 0; t < machine->n_tiers; t++)
        if (machine->tiers[t].computes) pricing.kept_share += pricing.placing.experts[t];
    plan->expert_hit_share = hit_share(&pricing, 1);
    for (enum end end = END_VALUE; end <= END_HIGH; end++) {
        pricing.end = end;
        predict_decode(plan, &pricing);
        predict_prompt(plan, &pricing);
    }
}

const char *plan_bound_name(const struct plan_machine *machine, const struct plan_estimate *estimate)
{
    switch (estimate->bound_by) {
    case PLAN_BOUND_MEMORY: return "memory";
    case PLAN_BOUND_ARITHMETIC: return "arithmetic";
    case PLAN_BOUND_OVERHEAD: return "overhead";
    case PLAN_BOUND_LINK: return machine->tiers[estimate->tier].name;
    case PLAN_BOUND_UNKNOWN: break;
    }
    return "unknown";
}
