/* Generation: evaluate, sample, print what is certain, until something ends it. */
#include "base/buffer.h"
#include "base/clock.h"
#include "run/session.h"
#include "run/speculate.h"
#include "text/utf8.h"

#include <string.h>

/* Text that was generated but not yet handed out, because a character is incomplete or a stop string may have begun. */
struct pending {
    struct buffer text;
    const struct stile_generate_options *options;
    bool cancelled;
};

static void hand_out(struct pending *pending, size_t n)
{
    if (n == 0) return;
    if (pending->options->on_text && pending->options->on_text(pending->options->user, pending->text.data, n))
        pending->cancelled = true;
    memmove(pending->text.data, pending->text.data + n, pending->text.n - n);
    pending->text.n -= n;
}

/* How many trailing bytes of the text could be the beginning of a stop string. */
static size_t possible_stop(const struct pending *pending)
{
    const struct buffer *text = &pending->text;
    size_t longest = 0;
    for (size_t i = 0; i < pending->options->n_stop; i++) {
        const char *stop = pending->options->stop[i];
        size_t n = strlen(stop), most = n > 0 ? n - 1 : 0;
        for (size_t k = most < text->n ? most : text->n; k > longest; k--)
            if (memcmp(text->data + text->n - k, stop, k) == 0) longest = k;
    }
    return longest;
}

/* Where the first stop string begins; the text's size when there is none. */
static size_t find_stop(const struct pending *pending)
{
    size_t first = pending->text.n;
    for (size_t i = 0; i < pending->options->n_stop; i++) {
        const char *stop = pending->options->stop[i];
        size_t n = strlen(stop);
        if (n == 0 || n > pending->text.n) continue;
        const char *found = memmem(pending->text.data, pending->text.n, stop, n);
        if (found && (size_t)(found - pending->text.data) < first) first = (size_t)(found - pending->text.data);
    }
    return first;
}

/* Adds a token's bytes and hands out what is certain. True when a stop string appeared. */
static bool add_text(struct pending *pending, const char *bytes, size_t n)
{
    buffer_add(&pending->text, bytes, n);
    if (pending->text.failed || pending->text.n == 0) return false;
    size_t stop = find_stop(pending);
    if (stop < pending->text.n) {
        hand_out(pending, stop);
        return true;
    }
    size_t certain = pending->text.n - possible_stop(pending),
           whole = utf8_complete(pending->text.data, pending->text.n);
    hand_out(pending, certain < whole ? certain : whole);
    return false;
}

static bool is_cancelled(const struct stile_session *session)
{
    return session->options.cancel && *session->options.cancel;
}

/* Samples and evaluates until something ends it. The last token is not evaluated: nobody has asked what follows it. */
static int generate(struct stile_session *session, struct stile_sampler *sampler, struct pending *pending,
                    struct stile_generation *result, struct stile_error *error)
{
    const struct stile_generate_options *options = pending->options;
    const struct tokenizer *tokenizer = session->model->tokenizer;
    for (;;) {
        int32_t token = stile_sample(sampler, session->logits, session->model->model->hparams.n_vocab);
        if (token < 0)
            return error_set(error, STILE_ERROR_MALFORMED, "%s: no finite logit: the weights are damaged",
                             session->model->path);
        result->n_tokens++;
        result->finish = STILE_FINISH_END;
        if (!options->ignore_end && tokenizer_is_end(tokenizer, token)) return 0;
        size_t n_bytes;
        const char *bytes = tokenizer_bytes(tokenizer, token, false, &n_bytes);
        result->finish = STILE_FINISH_STOP;
        if (add_text(pending, bytes, n_bytes)) return 0;
        if (pending->text.failed) return error_memory(error, n_bytes, "text");
        result->finish = STILE_FINISH_CANCELLED;
        if (pending->cancelled || is_cancelled(session)) return 0;
        result->finish = STILE_FINISH_LENGTH;
        if (result->n_tokens == options->n_tokens_max) return 0;
        result->finish = STILE_FINISH_CONTEXT;
        if (session->n_used == session->options.n_ctx) return 0;
        size_t n_more = options->n_tokens_max ? options->n_tokens_max - result->n_tokens - 1 : SIZE_MAX;
        int failed = speculation_append(session->speculation, token, n_more, error);
        result->finish = STILE_FINISH_CANCELLED;
        if (failed) return failed == STILE_ERROR_CANCELLED ? 0 : failed;
    }
}

static uint64_t disk_bytes(const struct stile_session *session)
{
    struct stile_tiers tiers;
    stile_session_tiers(session, &tiers);
    return tiers.read_bytes;
}

int stile_generate(struct stile_session *session, struct stile_sampler *sampler, const int32_t *prompt, size_t n_prompt,
                   const struct stile_generate_options *options, struct stile_generation *result,
                   struct stile_error *error)
{
    static const struct stile_generate_options none = {0};
    struct pending pending = {.options = options ? options : &none};
    *result = (struct stile_generation){0};
    uint32_t n_before = session->n_used;
    uint64_t begin_ns = clock_ns(), begin_bytes = session->read_bytes, begin_disk = disk_bytes(session);
    session->has_generated = true;
    int failed = stile_eval(session, prompt, n_prompt, error);
    result->prompt_ns = clock_ns() - begin_ns;
    result->n_prompt_tokens = session->n_used - n_before;
    result->prompt_bytes = session->read_bytes - begin_bytes;
    result->prompt_disk_bytes = disk_bytes(session) - begin_disk;
    result->finish = STILE_FINISH_CANCELLED;
    if (failed) return failed == STILE_ERROR_CANCELLED ? 0 : failed;
    for (size_t i = 0; i < n_prompt; i++)
        stile_sampler_accept(sampler, prompt[i]);
    begin_ns = clock_ns();
    begin_bytes = session->read_bytes;
    begin_disk = disk_bytes(session);
    speculation_begin(session->speculation, pending.options, sampler);
    failed = generate(session, sampler, &pending, result, error);
    speculation_end(session->speculation, result);
    result->generate_ns = clock_ns() - begin_ns;
    result->generate_bytes += session->read_bytes - begin_bytes;
    result->generate_disk_bytes = disk_bytes(session) - begin_disk;
    /* what was held back is text after all, unless a stop string ended it */
    if (!failed && result->finish != STILE_FINISH_STOP) hand_out(&pending, pending.text.n);
    buffer_free(&pending.text);
    return failed;
}
