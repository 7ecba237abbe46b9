#include "run/session.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/threads.h"
#include "file/map.h"
#include "run/budget.h"
#include "run/draft.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t fnv_offset = 0xcbf29ce484222325u, fnv_prime = 0x100000001b3u;

/* FNV-1a over 32-bit words instead of bytes, in eight lanes that are hashed into one at the end: a row of logits is hashed
 * for every token, and byte by byte that took a twentieth of a small model's time. */
static uint64_t hash_row(uint64_t hash, const float *row, size_t n)
{
    enum { LANES = 8 };
    uint64_t lanes[LANES];
    for (size_t i = 0; i < LANES; i++)
        lanes[i] = fnv_offset;
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] = (lanes[i % LANES] ^ f32_bits(row[i])) * fnv_prime;
    for (size_t i = 0; i < LANES; i++)
        hash = (hash ^ lanes[i]) * fnv_prime;
    return hash;
}

int session_resolve_options(const struct stile_model *model, const struct stile_session_options *given,
                            struct stile_session_options *resolved, struct stile_error *error)
{
    const struct hparams *h = &model->model->hparams;
    struct stile_session_options o = given ? *given : (struct stile_session_options){0};
    if (o.n_ctx == 0) o.n_ctx = h->n_ctx_trained < SESSION_CTX_DEFAULT ? h->n_ctx_trained : SESSION_CTX_DEFAULT;
    if (o.n_batch == 0) o.n_batch = SESSION_BATCH_DEFAULT;
    if (o.n_batch > o.n_ctx) o.n_batch = o.n_ctx;
    if (o.n_threads == 0) o.n_threads = (uint32_t)threads_default_count();
    if (o.n_ctx > HPARAMS_CONTEXT_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "a context of %u tokens is more than %d", o.n_ctx,
                         HPARAMS_CONTEXT_MAX);
    if (o.n_batch > SESSION_BATCH_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "a batch of %u tokens is more than %d", o.n_batch,
                         SESSION_BATCH_MAX);
    if (o.n_threads > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%u threads are more than %d", o.n_threads, THREADS_MAX);
    if ((unsigned)o.kv_format > STILE_KV_Q8_0)
        return error_set(error, STILE_ERROR_ARGUMENT, "KV format %d is not known", (int)o.kv_format);
    *resolved = o;
    return 0;
}

enum format session_kv_format(enum stile_kv_format kv_format)
{
    static const enum format kv_formats[] = {
        [STILE_KV_F16] = FORMAT_F16, [STILE_KV_F32] = FORMAT_F32, [STILE_KV_Q8_0] = FORMAT_Q8_0};
    return kv_formats[kv_format];
}

static int cpu_options_of(const struct stile_session_options *options, struct cpu_options *cpu,
                          struct stile_error *error)
{
    *cpu = (struct cpu_options){
        .n_threads = (int)options->n_threads,
        .n_batch = options->n_batch,
        .n_ctx = options->n_ctx,
        .kv_format = session_kv_format(options->kv_format),
    };
    cpu->kernels = kernel_select(options->isa);
    if (!cpu->kernels)
        return error_set(error, STILE_ERROR_ARGUMENT, "no kernels called \"%s\" on this processor (best here: %s)",
                         options->isa, kernel_names()[0]);
    return 0;
}

static const char proc_folder[] = "/proc", cgroup_folder[] = "/sys/fs/cgroup";

/* Weights that do not fit get their places; those that do are brought in ahead of their use, if they are not there. */
static int place_weights(struct stile_session *s, struct stile_error *error)
{
    const struct gguf *gguf = s->model->model->gguf;
    struct tiers_options options = {
        .n_threads = (int)s->options.n_threads, .reader = {.way = READER_FASTEST}, .cancel = s->options.cancel};
    struct machine_memory memory;
    struct placement *placement;
    machine_memory_read(&memory, proc_folder, cgroup_folder);
    int failed = budget_place(&placement, s->model, &s->options, &memory, error);
    if (failed) return failed;
    if (placement && placement->tier_bytes[TIER_CACHED] > 0) failed = session_use_create(&s->use, s->model, error);
    if (failed) {
        placement_free(placement);
        return failed;
    }
    options.use = s->use;
    if (placement) {
        const struct weight *embedding = &s->model->model->globals[ROLE_TOKEN_EMBD];
        map_read_scattered(embedding->data, embedding->rows * embedding->row_bytes);
        return tiers_create(&s->tiers, s->model->program, placement, &options, error);
    }
    if (gguf->maps && s->model->info.size_bytes <= memory.available_bytes)
        s->ahead = ahead_start(gguf->maps, gguf->n_shards);
    return 0;
}

int stile_session_create(struct stile_session **session, struct stile_model *model,
                         const struct stile_session_options *options, struct stile_error *error)
{
    struct cpu_options cpu;
    if (model->header_only)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s: only the header of this model was opened: it cannot compute (open the whole file)",
                         model->path);
    struct stile_session *s = calloc(1, sizeof *s);
    if (!s) return error_memory(error, sizeof *s, "a session");
    s->model = model;
    s->hash = fnv_offset;
    int failed = session_resolve_options(model, options, &s->options, error);
    if (!failed) failed = cpu_options_of(&s->options, &cpu, error);
    if (!failed) failed = speculation_create(&s->speculation, s, error);
    if (!failed) failed = place_weights(s, error);
    s->options.place = NULL;
    if (!failed)
        failed = kv_create(&s->kv, &model->model->hparams, s->options.n_ctx, s->options.n_batch, cpu.kv_format, error);
    if (!failed && s->tiers) {
        cpu.weights = tiers_weights(s->tiers);
        kv_touch(&s->kv);
        speculation_touch(s->speculation);
    }
    if (!failed) failed = cpu_create(&s->cpu, model->program, &cpu, error);
    if (!failed) {
        s->tokens = calloc(s->options.n_ctx, sizeof *s->tokens);
        s->logits = calloc(model->model->hparams.n_vocab, sizeof *s->logits);
        if (!s->tokens || !s->logits) failed = error_memory(error, s->options.n_ctx * sizeof *s->tokens, "a session");
    }
    if (failed) {
        stile_session_free(s);
        return failed;
    }
    *session = s;
    return 0;
}

void stile_session_free(struct stile_session *session)
{
    if (!session) return;
    if (session->has_generated) session_use_store(session);
    ahead_stop(session->ahead);
    speculation_free(session->speculation);
    cpu_free(session->cpu);
    tiers_free(session->tiers);
    expert_use_free(session->use);
    kv_free(&session->kv);
    free(session->tokens);
    free(session->logits);
    free(session);
}

int stile_model_memory(const struct stile_model *model, const struct stile_session_options *options,
                       struct stile_memory *memory, struct stile_error *error)
{
    struct stile_session_options o;
    struct cpu_options cpu;
    int failed = session_resolve_options(model, options, &o, error);
    if (!failed) failed = cpu_options_of(&o, &cpu, error);
    if (failed) return failed;
    const struct hparams *h = &model->model->hparams;
    *memory = (struct stile_memory){
        .weights_bytes = model->info.size_bytes,
        .kv_bytes = kv_size_bytes(h, o.n_ctx, o.n_batch, cpu.kv_format),
        .activations_bytes = cpu_memory_bytes(model->program, &cpu) + h->n_vocab * sizeof(float),
        .other_bytes = gguf_memory_bytes(model->model->gguf) + tokenizer_memory_bytes(model->tokenizer) +
                       model->model->arena.total_bytes + model->program->arena.total_bytes + o.n_ctx * sizeof(int32_t) +
                       speculation_memory_bytes(model, &o),
    };
    return o.draft ? draft_memory(&o, &memory->draft_bytes, error) : 0;
}

bool stile_session_tiers(const struct stile_session *session, struct stile_tiers *tiers)
{
    struct tiers_stats stats;
    *tiers = (struct stile_tiers){.mechanism = ""};
    if (!session->tiers) return false;
    tiers_stats(session->tiers, &stats);
    *tiers = (struct stile_tiers){
        .resident_bytes = stats.tier_bytes[TIER_RESIDENT],
        .absent_bytes = stats.absent_bytes,
        .streamed_bytes = stats.tier_bytes[TIER_STREAMED],
        .cached_bytes = stats.tier_bytes[TIER_CACHED],
        .memory_bytes = stats.memory_bytes,
        .n_passes = stats.n_passes,
        .read_bytes = stats.read_bytes,
        .reading_ns = stats.reading_ns,
        .waiting_ns = stats.waiting_ns,
        .wanted_bytes = stats.experts.wanted_bytes,
        .hit_bytes = stats.experts.hit_bytes,
        .guessed_bytes = stats.experts.guessed_bytes,
        .right_bytes = stats.experts.right_bytes,
        .mechanism = stats.direct ? "direct" : "cached",
    };
    return true;
}

/* Bytes that a batch reads, by the program's cost. */
static uint64_t batch_bytes(const struct stile_session *session, const struct cpu_batch *batch)
{
    struct step_shape shape = {.n_tokens = batch->n_tokens, .n_past = batch->position, .n_selected = batch->n_selected};
    shape.kv_format = session_kv_format(session->options.kv_format);
    struct cost cost = program_cost(session->model->program, &shape);
    return cost.weight_bytes + cost.kv_bytes;
}

static struct stile_cost public_cost(struct cost cost)
{
    return (struct stile_cost){cost.weight_bytes, cost.kv_bytes, cost.macs};
}

void stile_session_cost(const struct stile_session *session, uint32_t n_tokens, uint32_t n_past,
                        struct stile_cost *cost)
{
    struct step_shape shape = {.n_tokens = n_tokens, .n_past = n_past, .n_selected = n_tokens > 0};
    shape.kv_format = session_kv_format(session->options.kv_format);
    *cost = public_cost(program_cost(session->model->program, &shape));
}

int stile_profile_start(struct stile_session *session, bool on, struct stile_error *error)
{
    return cpu_profile_start(session->cpu, on, error);
}

size_t stile_profile(const struct stile_session *session, struct stile_profile_entry *entries, size_t capacity)
{
    const struct program *program = session->model->program;
    const struct cpu_profile *profile = cpu_profile(session->cpu);
    if (!profile) return 0;
    for (size_t i = 0; i < program->n_ops && i < capacity; i++) {
        const struct op *op = &program->ops[i];
        entries[i] = (struct stile_profile_entry){
            .kind = op_kind_names[op->kind],
            .name = op->weight ? op->weight->tensor->name : "",
            .format = op->weight ? format_info(op->weight->format)->name : "",
            .layer = op->layer,
            .busy_ns = profile[i].busy_ns,
            .wait_ns = profile[i].wait_ns,
            .cost = public_cost(profile[i].cost),
        };
    }
    return program->n_ops;
}

static int check_tokens(const struct stile_session *session, const int32_t *tokens, size_t n_tokens,
                        struct stile_error *error)
{
    uint32_t n_vocab = session->model->model->hparams.n_vocab;
    if (n_tokens == 0) return error_set(error, STILE_ERROR_ARGUMENT, "no tokens to evaluate");
    if (n_tokens > session->options.n_ctx - session->n_used)
        return error_set(
            error, STILE_ERROR_CONTEXT,
            "%zu tokens do not fit: the context holds %u and %u are used (ask for a larger context with --ctx)",
            n_tokens, session->options.n_ctx, session->n_used);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= n_vocab)
            return error_set(error, STILE_ERROR_ARGUMENT, "token %d is not in the vocabulary of %u", tokens[i],
                             n_vocab);
    return 0;
}

/* Rows of an embedding that stays in the file are read side by side. */
static void read_embeddings(const struct stile_session *session, const struct cpu_batch *batch)
{
    const struct weight *embedding = &session->model->model->globals[ROLE_TOKEN_EMBD];
    for (uint32_t t = 0; t < batch->n_tokens; t++)
        map_read_soon((const char *)embedding->data + (uint64_t)batch->tokens[t] * embedding->row_bytes,
                      embedding->row_bytes);
}

/* One batch. With tiers, memory is looked at now and then: others may need it by now, often all at once, or no more. */
static int run_batch(struct stile_session *session, const struct cpu_batch *batch, struct stile_error *error)
{
    enum { BETWEEN_LOOKS_NS = 200000000, LOOKS_BEFORE_MORE = 5 };
    if (session->tiers && clock_ns() - session->looked_ns > BETWEEN_LOOKS_NS) {
        struct machine_memory memory;
        machine_memory_read(&memory, proc_folder, cgroup_folder);
        budget_keep(session->tiers, &memory, ++session->n_looks % LOOKS_BEFORE_MORE == 0);
        session->looked_ns = clock_ns();
    }
    int failed = session->tiers ? tiers_begin_pass(session->tiers, error) : 0;
    if (failed) return failed;
    if (session->tiers) read_embeddings(session, batch);
    failed = cpu_run(session->cpu, batch, error);
    if (session->tiers) failed = tiers_end_pass(session->tiers, failed, error);
    return failed ? failed : gguf_check_maps(session->model->model->gguf, error);
}

/* Evaluates batch by batch; `rows` gets the logits of the last n_rows tokens. */
static int evaluate(struct stile_session *session, const int32_t *tokens, size_t n_tokens, size_t n_rows, float *rows,
                    struct stile_error *error)
{
    uint32_t n_vocab = session->model->model->hparams.n_vocab;
    const size_t first_row = n_tokens - n_rows; /* the token it belongs to */
    int failed = check_tokens(session, tokens, n_tokens, error);
    for (size_t done = 0, n; done < n_tokens && !failed; done += n) {
        n = n_tokens - done < session->options.n_batch ? n_tokens - done : session->options.n_batch;
        size_t n_before = first_row <= done ? 0 : first_row - done < n ? first_row - done : n;
        struct cpu_batch batch = {
            .tokens = tokens + done,
            .n_tokens = (uint32_t)n,
            .position = session->n_used,
            .n_selected = (uint32_t)(n - n_before),
            .logits = n_before < n ? rows + (done + n_before - first_row) * n_vocab : rows,
            .kv = session->kv.layers,
            .cancel = session->options.cancel,
        };
        session->has_logits = false;
        if (session->n_used + n > session->n_written) session->n_written = session->n_used + (uint32_t)n;
        failed = run_batch(session, &batch, error);
        if (failed) break;
        session->read_bytes += batch_bytes(session, &batch);
        memcpy(session->tokens + session->n_used, tokens + done, n * sizeof *tokens);
        session->n_used += (uint32_t)n;
    }
    return failed;
}

int session_read(struct stile_session *session, const int32_t *tokens, size_t n_tokens, struct stile_error *error)
{
    int failed = evaluate(session, tokens, n_tokens, 1, session->logits, error);
    session->has_logits = !failed;
    return failed;
}

int stile_eval(struct stile_session *session, const int32_t *tokens, size_t n_tokens, struct stile_error *error)
{
    int failed = session_read(session, tokens, n_tokens, error);
    if (failed) return failed;
    session->hash = hash_row(session->hash, session->logits, session->model->model->hparams.n_vocab);
    return 0;
}

int stile_eval_rows(struct stile_session *session, const int32_t *tokens, size_t n_tokens, size_t n_rows, float *logits,
                    struct stile_error *error)
{
    uint32_t n_vocab = session->model->model->hparams.n_vocab;
    if (n_rows == 0 || n_rows > n_tokens)
        return error_set(error, STILE_ERROR_ARGUMENT, "logits of %zu tokens cannot be had of %zu", n_rows, n_tokens);
    int failed = evaluate(session, tokens, n_tokens, n_rows, logits, error);
    if (failed) return failed;
    memcpy(session->logits, logits + (n_rows - 1) * n_vocab, n_vocab * sizeof *logits);
    session->has_logits = true;
    for (size_t i = 0; i < n_rows; i++)
        session->hash = hash_row(session->hash, logits + i * n_vocab, n_vocab);
    return 0;
}

void session_accept(struct stile_session *session, const float *row)
{
    uint32_t n_vocab = session->model->model->hparams.n_vocab;
    memcpy(session->logits, row, n_vocab * sizeof *row);
    session->has_logits = true;
    session->hash = hash_row(session->hash, row, n_vocab);
    session->n_used++;
}

int session_look_ahead(struct stile_session *session, const int32_t *tokens, size_t n_tokens, float *rows,
                       struct stile_error *error)
{
    assert(n_tokens <= session->options.n_batch);
    int failed = evaluate(session, tokens, n_tokens, n_tokens, rows, error);
    if (failed) return failed;
    session->n_used -= (uint32_t)n_tokens;
    session_accept(session, rows);
    return 0;
}

const float *stile_logits(const struct stile_session *session)
{
    return session->has_logits ? session->logits : NULL;
}

uint64_t stile_logits_hash(const struct stile_session *session)
{
    return session->hash;
}

uint32_t stile_context_used(const struct stile_session *session)
{
    return session->n_used;
}

uint32_t stile_context_size(const struct stile_session *session)
{
    return session->options.n_ctx;
}

const int32_t *stile_context_tokens(const struct stile_session *session)
{
    return session->tokens;
}

int stile_rewind(struct stile_session *session, uint32_t n_tokens, struct stile_error *error)
{
    if (n_tokens > session->n_used)
        return error_set(error, STILE_ERROR_ARGUMENT, "cannot go back to token %u: only %u are in the context",
                         n_tokens, session->n_used);
    if (!kv_can_rewind(&session->kv, &session->model->model->hparams, session->n_written, n_tokens))
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "cannot go back to token %u: the sliding windows have moved on (start again from 0)",
                         n_tokens);
    if (n_tokens < session->n_used) session->has_logits = false;
    session->n_used = n_tokens;
    if (n_tokens == 0) {
        session->n_written = 0;
        session->hash = fnv_offset;
    }
    return 0;
}
