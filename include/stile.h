/* stile.h - run language models from the files they are published in.
 *
 * The whole public interface. A program opens a model, creates a session on it, evaluates tokens,
 * samples from the logits:
 *
 *     struct stile_error error;
 *     struct stile_model *model;
 *     struct stile_session *session;
 *     if (stile_model_open(&model, "model.gguf", &error) != 0) fail(error.message);
 *     if (stile_session_create(&session, model, NULL, &error) != 0) fail(error.message);
 *     stile_eval(session, tokens, n_tokens, &error);
 *     const float *logits = stile_logits(session);            (n_vocab)
 *
 * Conventions
 *   errors      a function that can fail returns 0, or a negative stile_code and fills `error`
 *               (which may be NULL). Out-parameters are untouched on failure unless said otherwise.
 *   ownership   create/open is paired with free/close; both accept NULL. Strings and arrays behind
 *               `const` pointers belong to the object they came from and live as long as it does.
 *   threads     a model may be shared by sessions in several threads once it is open; a session, a
 *               sampler belong to one thread at a time.
 *   determinism the logits of a token are the same bits at any number of threads, any batch width
 *               and any instruction set.
 */
#ifndef STILE_H
#define STILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define STILE_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------- */

enum stile_code {
    STILE_OK = 0,
    STILE_ERROR_ARGUMENT = -1,    /* the caller asked for something that makes no sense */
    STILE_ERROR_IO = -2,          /* a file or device could not be read or written */
    STILE_ERROR_MALFORMED = -3,   /* the file or text breaks its own format */
    STILE_ERROR_UNSUPPORTED = -4, /* well-formed, but stile does not know this kind */
    STILE_ERROR_MEMORY = -5,      /* not enough memory */
    STILE_ERROR_CONTEXT = -6,     /* the session's context is full */
    STILE_ERROR_TEMPLATE = -7,    /* the chat template failed or raised an error */
    STILE_ERROR_CANCELLED = -8,   /* the caller's cancel flag or callback stopped the work */
};

struct stile_error {
    int code;           /* enum stile_code */
    char message[1000]; /* one line: what was wrong, where, what to do */
};

const char *stile_version(void);
/* What the library was built from, as git describes it: "1a2b3c4d5e6f", "1a2b3c4d5e6f-dirty"; "" outside of git. */
const char *stile_commit(void);

/* ---- models ------------------------------------------------------------------------------- */

struct stile_model;

/* What a model is. Counts are as the file states them; sizes in bytes. */
struct stile_model_info {
    const char *path;
    const char *architecture;  /* "llama", "qwen3", ... */
    const char *name;          /* the publisher's name, "" when the file has none */
    const char *license;       /* "" when the file has none */
    const char *tokenizer;     /* "gpt2" (byte-level BPE) or "llama" (SentencePiece) */
    const char *pretokenizer;  /* "smollm", "llama-bpe", ...; "" for SentencePiece */
    const char *chat_template; /* Jinja source; NULL when the file has none */
    uint64_t n_parameters;     /* elements of all tensors */
    uint64_t
        n_parameters_active; /* those that a decoded token needs: without the experts it does not choose, and without
                                     the embedding where that is not the output head too */
    uint64_t size_bytes;     /* bytes of all tensors in the file */
    uint32_t n_shards;
    uint32_t n_layers;
    uint32_t d_model;
    uint32_t d_ff;      /* of one expert in a mixture of experts */
    uint32_t n_experts; /* of each layer; 0: not a mixture */
    uint32_t n_experts_used;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t sliding_window; /* 0: none */
    uint32_t n_ctx_trained;
    uint32_t n_vocab;
    uint32_t n_tensors;
};

/* Opens a GGUF file (or, given any file of a sharded set, the whole set), or a Hugging Face folder (config.json,
 * tokenizer.json, safetensors), checks it and maps it.
 * Takes about as long as reading the metadata; weights are read when they are used.
 * `path` may also be a short name that stile_model_find knows. */
int stile_model_open(struct stile_model **model, const char *path, struct stile_error *error);
void stile_model_close(struct stile_model *model);
const struct stile_model_info *stile_model_info(const struct stile_model *model);

/* Models made up on the spot: the shape of a published model ("llama-3.1-8b"), random weights with the statistics of real
 * ones, in a format as people say it ("q4_k_m", "bf16", "nvfp4"). For measuring a model before downloading it. */
/* In memory, ready to use; takes about as long as filling that much memory. */
int stile_model_synthesize(struct stile_model **model, const char *shape, const char *format,
                           struct stile_error *error);
/* As a GGUF file, written beside and renamed when it is whole. on_progress may be NULL; non-zero cancels. */
int stile_shape_write(const char *shape, const char *format, const char *path,
                      int (*on_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes), void *user,
                      struct stile_error *error);
/* The known shapes, i = 0, 1, ...; NULL past the last. */
const char *stile_shape_name(size_t i);

/* Zero in any field means "the default". */
struct stile_header_options {
    const char *format;         /* of a shape: "q4_k_m", "bf16", ...; default "q4_k_m" */
    const volatile int *cancel; /* looked at about once a second: when it becomes non-zero, reading ends (CANCELLED) */
};
/* Opens only the header of a model: everything there is to know of it beforehand (info, tensors, vocabulary, memory,
 * costs), without its weights; a session on it is an error. `name` is what stile_model_open takes, or one of
 *   a shape             "llama-3.1-70b": described, not made
 *   a URL               "https://host/model.gguf" (http too): a few megabytes are read
 *   a name at the hub   "org/repo", "org/repo:Q4_K_M", "org/repo:file.gguf"
 * The hub is https://huggingface.co, or what the environment variable HF_ENDPOINT says; HF_TOKEN is sent to it, by https,
 * and to nobody else. SSL_CERT_FILE names certificates to trust instead of the system's, http_proxy and https_proxy a
 * proxy. `options` may be NULL. */
int stile_model_open_header(struct stile_model **model, const char *name, const struct stile_header_options *options,
                            struct stile_error *error);

/* How long stile_model_open took, by phase, in ns. */
struct stile_load_times {
    uint64_t open_ns;  /* metadata read and checked */
    uint64_t map_ns;   /* weights mapped, every tensor found */
    uint64_t ready_ns; /* vocabulary and program built */
};
void stile_model_load_times(const struct stile_model *model, struct stile_load_times *times);

/* Turns a short name ("smollm2") or a path into the path of an existing file or folder: a path is returned as it is, but
 * for slashes at its end; a name is looked up in the cache folder ($XDG_CACHE_HOME/stile/models). The message of the
 * error says which command gets a missing model. `path` holds `capacity` bytes. */
int stile_model_find(const char *name, char *path, size_t capacity, struct stile_error *error);

/* The share of one number format in a model. */
struct stile_format_share {
    const char *format; /* "Q4_1", "F32", ... */
    uint64_t n_tensors;
    uint64_t n_parameters;
    uint64_t size_bytes;
};
/* Writes up to `capacity` shares, largest first; returns how many formats there are. */
size_t stile_model_formats(const struct stile_model *model, struct stile_format_share *shares, size_t capacity);

struct stile_tensor_info {
    const char *name;
    const char *format;
    uint32_t n_dims;
    uint64_t dims[4]; /* dims[0] is the contiguous one; missing dims are 1 */
    uint64_t size_bytes;
    uint64_t offset_bytes; /* in its file */
    uint32_t shard;
};
int stile_model_tensor(const struct stile_model *model, uint32_t i, struct stile_tensor_info *tensor);

/* ---- text --------------------------------------------------------------------------------- */

enum {
    STILE_ADD_SPECIAL = 1,  /* add the BOS/EOS tokens that the vocabulary asks for */
    STILE_PARSE_SPECIAL = 2 /* turn texts such as <|im_end|> into control tokens: only for trusted text */
};

/* Encodes bytes (need not be valid UTF-8). `*tokens` is allocated; free with stile_free. */
int stile_tokenize(const struct stile_model *model, const char *text, size_t n_bytes, unsigned flags, int32_t **tokens,
                   size_t *n_tokens, struct stile_error *error);

/* The bytes a token stands for in text (a control token: none, unless `special`). A token may hold part
 * of a UTF-8 character. Returns NULL with *n_bytes = 0 for an id outside the vocabulary. */
const char *stile_token_bytes(const struct stile_model *model, int32_t token, bool special, size_t *n_bytes);
/* The vocabulary's own spelling of a token, NUL-terminated, for listings. */
const char *stile_token_name(const struct stile_model *model, int32_t token);
/* Does this token end a reply? */
bool stile_token_is_end(const struct stile_model *model, int32_t token);

/* How many of the leading bytes form whole UTF-8 characters (a truncated character at the end is left
 * out, an invalid byte counts as whole). For printing text while it arrives. */
size_t stile_utf8_complete(const char *bytes, size_t n_bytes);

/* Renders the model's chat template. `request` is a JSON object with the variables that templates use:
 *   {"messages": [{"role": "user", "content": "..."}, ...], "tools": [...], "add_generation_prompt": true, ...}
 * bos_token and eos_token are filled in. `*text` is allocated; free with stile_free. */
int stile_chat_render(const struct stile_model *model, const char *request, char **text, struct stile_error *error);
/* The same, straight to tokens (with BOS, if the vocabulary asks for it and the template did not bring it): the
 * template's own text may hold control tokens, text that came from the request may not. Free `*tokens` with stile_free.
 */
int stile_chat_tokenize(const struct stile_model *model, const char *request, int32_t **tokens, size_t *n_tokens,
                        struct stile_error *error);

void stile_free(void *memory);

/* ---- sessions ----------------------------------------------------------------------------- */

struct stile_session;

/* Of the KV cache. Q8_0 takes half the memory of F16, and is read in half the time. */
enum stile_kv_format { STILE_KV_F16 = 0, STILE_KV_F32 = 1, STILE_KV_Q8_0 = 2 };

/* Zero in any field means "the default". */
struct stile_session_options {
    uint32_t n_ctx;     /* tokens of context; default min(trained context, 4096) */
    uint32_t n_batch;   /* tokens evaluated together in prefill; default 512 */
    uint32_t n_threads; /* default: one per physical core this process may use */
    enum stile_kv_format kv_format;
    const char *isa;            /* "scalar", "avx2", ...: kernels to use; default: the best here */
    const volatile int *cancel; /* checked often: when it becomes non-zero, work ends with CANCELLED */
    /* Memory to use at most: context, activations, weights, vocabulary; the process itself takes some 20 MB beside. Never
     * more than is free (control groups respected). Weights beyond it are read from the file whenever they are needed. */
    uint64_t memory_limit_bytes;
    /* Where weights go, instead of what was found best: "PATTERN=TIER,...", shell patterns over the names of tensors;
     * "resident", "streamed", or for experts "cached". Read during stile_session_create only. */
    const char *place;
    /* A smaller model with the same vocabulary that guesses what stile_generate evaluates several tokens at a time, where
     * that is measured to be faster; logits, tokens and seeds are the same with it and without. */
    struct stile_model *draft;
};

/* Creates a session with an empty context. The models must outlive it. ARGUMENT when the draft model's vocabulary differs.
 * `options` may be NULL. */
int stile_session_create(struct stile_session **session, struct stile_model *model,
                         const struct stile_session_options *options, struct stile_error *error);
void stile_session_free(struct stile_session *session);

/* Memory a session with these options needs, in bytes. */
struct stile_memory {
    uint64_t weights_bytes; /* mapped from the file */
    uint64_t kv_bytes;
    uint64_t activations_bytes;
    uint64_t other_bytes; /* metadata, vocabulary, norms, program, logits of guesses */
    uint64_t draft_bytes; /* the draft model: its weights, its KV, all it needs */
};
int stile_model_memory(const struct stile_model *model, const struct stile_session_options *options,
                       struct stile_memory *memory, struct stile_error *error);

/* Where the weights are, when they do not all fit into memory. Counts from the creation of the session. */
struct stile_tiers {
    uint64_t resident_bytes; /* of weights that stay in memory once they were read ... */
    uint64_t absent_bytes;   /* ... of which not so many have been, so far */
    uint64_t streamed_bytes; /* read for every pass over the weights */
    uint64_t cached_bytes;   /* of experts, kept as they are used */
    uint64_t memory_bytes;   /* that is kept for weights */
    uint64_t n_passes;
    uint64_t read_bytes;    /* from the disk, while */
    uint64_t reading_ns;    /* reads were under way */
    uint64_t waiting_ns;    /* computing waited for them */
    uint64_t wanted_bytes;  /* of cached experts, by passes */
    uint64_t hit_bytes;     /* of these, that were in memory, and not because of a guess */
    uint64_t guessed_bytes; /* of experts, read because they would probably be wanted */
    uint64_t right_bytes;   /* of these, that were */
    const char *mechanism;  /* how they are read: "direct", or "cached": through the page cache */
};
/* false: all weights are mapped from the file, there is nothing to tell. From any thread, also while evaluating. */
bool stile_session_tiers(const struct stile_session *session, struct stile_tiers *tiers);

/* How a layer's experts were used, where they do not all fit into memory. The counts are of this session, the numbers of
 * experts are of all sessions with this model. */
struct stile_expert_layer {
    uint64_t n_uses;                  /* choices of tokens */
    uint64_t wanted_bytes, hit_bytes; /* of experts' weights: wanted by passes; of these, that were in memory */
    uint32_t n_half, n_80, n_95;      /* experts that 50, 80, 95% of the choices fall on; 0: nothing is known yet */
};
/* Writes up to `capacity` layers; returns how many there are, 0 where no experts are cached. */
size_t stile_session_experts(const struct stile_session *session, struct stile_expert_layer *layers, size_t capacity);

/* Appends tokens to the context. On CONTEXT (they do not fit) or ARGUMENT nothing has happened; on CANCELLED or IO
 * the whole batches evaluated before stay in the context (see stile_context_tokens). */
int stile_eval(struct stile_session *session, const int32_t *tokens, size_t n_tokens, struct stile_error *error);
/* As stile_eval, and writes the logits of each of the last n_rows tokens, 1 to n_tokens: `logits` is (n_rows, n_vocab). */
int stile_eval_rows(struct stile_session *session, const int32_t *tokens, size_t n_tokens, size_t n_rows, float *logits,
                    struct stile_error *error);
/* Logits after the last token, (n_vocab); NULL before the first stile_eval. Valid until the next call. */
const float *stile_logits(const struct stile_session *session);
/* 64-bit hash over the bits of every logits row handed out since creation or stile_rewind(session, 0): one
 * row per stile_eval, every row of stile_eval_rows. */
uint64_t stile_logits_hash(const struct stile_session *session);

/* What evaluating n_tokens tokens after n_past others must move and multiply, by the program's own cost: weights once,
 * the part of the KV cache that the tokens see, what they append. Logits for the last token. One batch, however large. */
struct stile_cost {
    uint64_t weight_bytes;
    uint64_t kv_bytes;
    uint64_t macs;
};
void stile_session_cost(const struct stile_session *session, uint32_t n_tokens, uint32_t n_past,
                        struct stile_cost *cost);

/* Where time goes. One entry per operation of the program, in order. */
struct stile_profile_entry {
    const char *kind;   /* "matmul", "attention", ... */
    const char *name;   /* of the weight, "" where there is none */
    const char *format; /* of the weight: "Q4_K" */
    int32_t layer;      /* -1: outside of the layers */
    uint64_t busy_ns;   /* sum over the threads */
    uint64_t wait_ns;   /* sum over the threads: at the barrier before it */
    struct stile_cost cost;
};
/* Counts from zero from here on (on), or stops. */
int stile_profile_start(struct stile_session *session, bool on, struct stile_error *error);
/* Writes up to `capacity` entries; returns how many there are (0 when off). */
size_t stile_profile(const struct stile_session *session, struct stile_profile_entry *entries, size_t capacity);

uint32_t stile_context_used(const struct stile_session *session);
uint32_t stile_context_size(const struct stile_session *session);
/* Tokens now in the context, (stile_context_used). */
const int32_t *stile_context_tokens(const struct stile_session *session);
/* Forgets all but the first n_tokens. Fails with ARGUMENT where a sliding window has already dropped what
 * would be needed (0 always works). */
int stile_rewind(struct stile_session *session, uint32_t n_tokens, struct stile_error *error);

/* ---- sampling ----------------------------------------------------------------------------- */

struct stile_sampler;

/* The order is: repeat penalty, top-k, temperature, top-p, min-p, draw. */
struct stile_sampler_options {
    float temperature;     /* 0: greedy (then only the repeat penalty matters) */
    int32_t top_k;         /* keep the k most likely; 0: all */
    float top_p;           /* keep the smallest set with probability >= top_p; 1: all */
    float min_p;           /* drop what is below min_p x the largest probability; 0: none */
    float repeat_penalty;  /* logits of recent tokens are divided (if > 0) or multiplied by this; 1: off */
    int32_t repeat_last_n; /* how many recent tokens count; -1: all */
    uint64_t seed;
};
/* temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1, repeat_last_n 64, seed 0 */
struct stile_sampler_options stile_sampler_defaults(void);

int stile_sampler_create(struct stile_sampler **sampler, const struct stile_sampler_options *options,
                         struct stile_error *error);
void stile_sampler_free(struct stile_sampler *sampler);
/* Draws a token from logits (n_vocab), and remembers it for the repeat penalty. `logits` is not changed.
 * Never returns a token whose logit is not finite; -1 when there is none. */
int32_t stile_sample(struct stile_sampler *sampler, const float *logits, size_t n_vocab);
/* Tells the sampler of a token it did not draw (the prompt's). */
void stile_sampler_accept(struct stile_sampler *sampler, int32_t token);
/* Starts again: empty history, the seed as at creation. */
void stile_sampler_reset(struct stile_sampler *sampler);
/* The distribution stile_sample would draw from: up to `capacity` candidates, most likely first, with
 * probabilities that sum to 1. Returns how many there are. */
size_t stile_sampler_distribution(struct stile_sampler *sampler, const float *logits, size_t n_vocab, int32_t *tokens,
                                  float *probabilities, size_t capacity);

/* ---- generation --------------------------------------------------------------------------- */

enum stile_finish {
    STILE_FINISH_END,       /* the model ended its reply */
    STILE_FINISH_LENGTH,    /* n_tokens_max reached */
    STILE_FINISH_CONTEXT,   /* the context is full */
    STILE_FINISH_STOP,      /* a stop string appeared (it is not part of the text) */
    STILE_FINISH_CANCELLED, /* by the callback or the cancel flag; what was said so far is kept */
};

struct stile_generate_options {
    uint32_t n_tokens_max;   /* 0: until the context is full */
    const char *const *stop; /* stop strings; may be NULL */
    size_t n_stop;
    bool ignore_end; /* go on after end-of-reply tokens (for measuring) */
    /* Do not guess from earlier text. Otherwise several tokens are evaluated at a time where it suggests what comes next and
     * where that has been found to be faster; logits, tokens and seeds are the same either way. */
    bool no_lookup;
    /* Gets whole UTF-8 characters as they become certain; non-zero cancels. May be NULL. */
    int (*on_text)(void *user, const char *text, size_t n_bytes);
    void *user;
};

/* Guesses of the next tokens, by where they came from. */
struct stile_guesses {
    uint32_t n_drafted;  /* evaluated */
    uint32_t n_accepted; /* of these, right */
};

struct stile_generation {
    enum stile_finish finish;
    uint32_t n_prompt_tokens; /* of the prompt, evaluated: all of them, unless something ended that */
    uint32_t n_tokens;        /* generated, an end token included */
    uint32_t n_passes;        /* evaluations for them: n_tokens - 1, less where guesses were right */
    struct stile_guesses lookup, draft;
    uint64_t draft_ns;          /* of generate_ns: the draft model's part */
    uint64_t prompt_ns;         /* evaluating the prompt: to the first logits */
    uint64_t generate_ns;       /* from the first logits to the end: n_passes evaluations, sampling included */
    uint64_t prompt_bytes;      /* weight and KV bytes read for the prompt, by the program's cost */
    uint64_t generate_bytes;    /* and for the generated tokens */
    uint64_t prompt_disk_bytes; /* of weights that are not all in memory: bytes read from the disk meanwhile */
    uint64_t generate_disk_bytes;
};

/* Evaluates the prompt, then samples and evaluates until something ends it. All generated tokens but the last are in
 * the context afterwards. A full context, a stop, a cancel are results, not errors. A prompt that does not fit
 * is the error CONTEXT, and nothing is evaluated. */
int stile_generate(struct stile_session *session, struct stile_sampler *sampler, const int32_t *prompt, size_t n_prompt,
                   const struct stile_generate_options *options, struct stile_generation *result,
                   struct stile_error *error);

/* ---- plans -------------------------------------------------------------------------------- */

/* A prediction: what is expected, what it may be instead, and what limits it ("memory", "arithmetic", "overhead",
 * "disk"; "unknown" where the value is 0). */
struct stile_estimate {
    double value, low, high;
    char bound_by[48];
};

/* All 0: not known. */
struct stile_range {
    double value, low, high;
};

/* What a number format is expected to cost in quality: what others measured with another model. */
struct stile_quality {
    double ppl_loss;    /* the share that perplexity rises by, such as 0.03; negative: not known */
    double divergence;  /* mean Kullback-Leibler divergence, nats per token; negative: not known */
    bool imatrix;       /* that file was made with an importance matrix */
    const char *model;  /* measured with this one; "" where nothing is lost, NULL where nothing is known */
    const char *source; /* NULL where nothing is known */
};

struct stile_pace;

/* Zero in any field means "the default". */
struct stile_plan_options {
    struct stile_session_options session;
    /* "this" (the default); a computer put together by names, such as "rtx5090+ddr5-6000x2+nvme4" (stile_computer_name
     * lists devices); or a file that `stile probe --json` wrote. */
    const char *machine;
    uint64_t assumed_memory_bytes; /* as if so much were free, whatever is; default: what is free */
    uint32_t n_prompt;             /* tokens of the prompt; default 512 */
    uint32_t n_depth;              /* tokens in the context before that, and before decoding; default 0 */
    uint32_t n_generated;          /* decoding is predicted for so many tokens on average; default 128 */
    const char *format;            /* as if the model came in this: "q4_k_m"; default: as it is */
    double tokens_per_pass;        /* that speculation makes of a pass; default 1 */
    uint32_t n_guessed;            /* tokens it evaluates in each beside the one that is certain */
    /* Of this machine: rates are those of the probe, as much faster or slower as it is now. NULL: as probed. */
    const struct stile_pace *pace;
};

enum { STILE_PLAN_TIERS_MAX = 4 };

/* Where parts of a model lie, fastest first. */
struct stile_plan_tier {
    char name[48];           /* "memory", "disk" */
    bool computes;           /* what lies there is used there; else it is brought for every pass */
    uint64_t capacity_bytes; /* that a model may have; UINT64_MAX: any number */
    uint64_t weights_bytes;  /* that every token needs, and the embedding */
    uint64_t experts_bytes;
    uint64_t kv_bytes, other_bytes;
    double token_bytes;      /* read from it for each decoded token */
    double read_bytes_per_s; /* that it can be read with; 0: not known */
};

struct stile_plan {
    bool possible;              /* the context and all that must be in memory fit there */
    bool fits;                  /* and so do all weights */
    struct stile_memory memory; /* all of it, wherever it lies */
    uint32_t n_tiers;
    struct stile_plan_tier tiers[STILE_PLAN_TIERS_MAX];
    double expert_hit_share; /* of the bytes of experts that need not be brought */
    struct stile_estimate decode_tokens_per_s, prefill_tokens_per_s;
    /* From nothing to the logits after the prompt, the model file being in memory (warm) or not (cold). */
    struct stile_estimate first_token_warm_s, first_token_cold_s;
    uint32_t n_ctx, n_batch, n_threads; /* with defaults filled in */
    char machine[96];
    char assumed[64]; /* of a computer by name, what the name does not say: "+nvme4" */
    bool data_sheet;  /* the rates are those of data sheets, not measured */
    /* That memory is read with by options' pace, and was when it was probed; 0: not known. */
    double pace_read_bytes_per_s, probed_read_bytes_per_s;
    char format[16]; /* "q4_k_m"; "" where the file does not say */
    struct stile_quality quality;
    double rated_w;                      /* of a computer by name, all of it; 0: not known */
    struct stile_range power_w, token_j; /* while decoding, and of a decoded token: modelled from rated powers */
    /* Of a token, for a picture of limits: multiply-adds, bytes read; and multiply-adds per second of many tokens. */
    double decode_macs, decode_bytes, prefill_macs, prefill_bytes, macs_per_s;
};

/* Predicts how a model will run on a machine; on this one from what stile_probe_measure found out about it: where that is not
 * known, nothing is measured and estimates are 0. Only the model's header is used. `options` may be NULL. */
int stile_plan_make(struct stile_plan *plan, const struct stile_model *model, const struct stile_plan_options *options,
                    struct stile_error *error);

/* The devices that computers are put together of, i = 0, 1, ...; NULL past the last. `description` may be NULL. */
const char *stile_computer_name(size_t i, const char **description);

/* What a plan must give at least, or may cost at most. 0: any. */
struct stile_plan_limits {
    double min_tokens_per_s;   /* of decode */
    double max_loss;           /* stile_quality.ppl_loss; what is not known is ruled out */
    double max_w;              /* rated; what is not known is ruled out */
    uint64_t max_memory_bytes; /* that the model needs, with context */
};
enum stile_plan_limit {
    STILE_LIMIT_MEMORY_OF_MACHINE, /* it does not fit */
    STILE_LIMIT_SPEED,
    STILE_LIMIT_LOSS,
    STILE_LIMIT_POWER,
    STILE_LIMIT_MEMORY,
    STILE_N_LIMITS
};

struct stile_plan_ranking {
    struct stile_plan *plans; /* best first */
    uint32_t n_plans;
    uint32_t n_tried, n_ruled_out[STILE_N_LIMITS]; /* a plan may be ruled out by several */
};

/* Plans for all devices of the table (else options->machine), in all formats (else options->format), of which those are
 * kept that the limits allow. Of one machine the format that loses least is first; of several machines the fastest one,
 * each with the format that loses least of those that are allowed, and that needs nothing but the device's own memory
 * unless min_tokens_per_s says what is fast enough. `options` and `limits` may be NULL. */
int stile_plan_rank(struct stile_plan_ranking *ranking, const struct stile_model *model,
                    const struct stile_plan_options *options, bool all_machines, bool all_formats,
                    const struct stile_plan_limits *limits, struct stile_error *error);
void stile_plan_ranking_free(struct stile_plan_ranking *ranking);

/* A measurement that others published, on a machine whose data sheet is known, and what is predicted for it. */
struct stile_published {
    const char *machine, *shape, *format, *engine, *metric, *source; /* metric: "decode", "prefill" */
    bool mixture;                                                    /* of experts */
    double measured_tokens_per_s;
    struct stile_range predicted_tokens_per_s;
};
/* i = 0, 1, ...; false past the last. */
bool stile_plan_published(struct stile_published *published, size_t i);

/* What was predicted of a run and what came of it: tokens per second of "decode" and "prefill", seconds of "first token",
 * bytes of "memory" at most. */
struct stile_outcome {
    int64_t time; /* seconds since 1970 */
    char kind[16];
    char model[96], format[16];
    uint32_t n_ctx, n_depth, n_tokens, n_batch, n_threads;
    uint64_t memory_limit_bytes; /* 0: none */
    bool streamed;               /* not all weights fitted */
    struct stile_estimate predicted;
    double measured;
    char commit[64]; /* of what predicted and measured */
};
/* Adds one to those in the cache folder (plans.jsonl); the oldest go when there are thousands. */
int stile_outcome_keep(const struct stile_outcome *outcome, struct stile_error *error);
/* All that are kept, oldest first; free `*outcomes` with stile_free. */
int stile_outcomes(struct stile_outcome **outcomes, size_t *n, struct stile_error *error);

/* ---- other formats ------------------------------------------------------------------------ */

struct stile_quantize_tensor {
    char name[64];
    const char *from, *to; /* "F16"; `from` is NULL for what the model did not have (NVFP4's second scales) */
    uint64_t n_parameters;
    uint64_t from_bytes, to_bytes;
};

/* What a quantized file is, or would be. */
struct stile_quantization {
    const char *format; /* the mix, or the format of most bytes where a size was asked for */
    uint64_t n_tensors;
    struct stile_quantize_tensor *tensors; /* in the file's order */
    uint64_t from_bytes, size_bytes;       /* of the model's tensors; of the whole file */
    double bits_per_weight;                /* of all tensors that are made */
    uint32_t n_requantized;                /* quantized ones that had been quantized before */
    uint32_t n_no_importance;              /* quantized ones that the importance matrix does not know */
    uint64_t resumed_bytes;                /* that were there from an interrupted run */
    uint64_t time_ns;
};

/* Zero in any field means "the default". */
struct stile_quantize_options {
    const char *format; /* of the file as people say it: "q4_k_m", "nvfp4", "bf16" */
    /* Instead of a format, a size: formats are chosen for each tensor so that as little as possible is lost, as measured
     * with a sample of its rows. At most one of these. */
    double target_bits_per_weight; /* of all tensors */
    uint64_t target_bytes;         /* of the file */
    const char *fit;               /* what fits into the fastest memory of this machine (stile_plan_options.machine) */
    uint32_t n_ctx;                /* beside a context of so many tokens; default 4096, or less */
    const char *recipe;  /* formats of tensors by name: "PATTERN=FORMAT,...", shell patterns; or a file of such lines */
    const char *imatrix; /* a file: how much each input of a matrix matters */
    /* NULL: each block on its own. "gptq": the matrices of the layers column by column, so that later weights make good the
     * errors of earlier ones, as far as the inputs over a text allow (text, n_text_bytes, cut as for stile_calibrate). Takes
     * the time of running the text through the model a few times, and more memory: 4 bytes for each token and d_model,
     * 12 for each pair of inputs of a matrix, and a layer. */
    const char *method;
    const char *text;
    size_t n_text_bytes;
    uint32_t n_chunks;          /* windows of the text at most, as in stile_calibrate_options */
    uint32_t n_threads;         /* default: one per core */
    bool dry_run;               /* only say what would be made */
    bool force;                 /* replace a file that is there */
    bool resume;                /* continue what an interrupted call left, if it left something */
    const volatile int *cancel; /* when it becomes non-zero, work ends with CANCELLED, and can be resumed */
    /* Often, of parameters; of tensors while formats are measured for a size. May be NULL. */
    void (*on_progress)(void *user, uint64_t n_done, uint64_t n_total);
    /* Something worth knowing that is no error: one line. May be NULL. */
    void (*on_warning)(void *user, const char *message);
    void *user;
};

/* Writes a model's weights in other formats, as a GGUF file at `path` (may be NULL for a dry run). Memory needed is a few MB for each thread, whatever the
 * size of the model. The same model, options and importance matrix give the same bytes at any number of threads. Until the
 * file is whole it is called PATH.partial, and cannot be opened; one that an interrupted or killed call left is taken up with
 * options->resume. `result`, which may be NULL, is filled before the work begins too (its n_tensors is 0 where that failed);
 * free it with stile_quantization_free. */
int stile_quantize(const struct stile_model *model, const char *path, const struct stile_quantize_options *options,
                   struct stile_quantization *result, struct stile_error *error);
void stile_quantization_free(struct stile_quantization *result);
/* The formats that can be asked for, i = 0, 1, ...; NULL past the last. */
const char *stile_quantize_format(size_t i);

/* ---- calibrating -------------------------------------------------------------------------- */

/* Zero in any field means "the default". */
struct stile_calibrate_options {
    uint32_t n_ctx;             /* tokens of a window; default 512 */
    uint32_t n_chunks;          /* windows at most; default all that the text gives */
    uint32_t n_threads;         /* default: one per physical core this process may use */
    const char *isa;            /* as for sessions */
    const char *text_name;      /* what the text is called in the file; default "" */
    const volatile int *cancel; /* checked often: when it becomes non-zero, work ends with CANCELLED */
    /* How far it is, 0 to 1; from the calling thread, may be NULL. */
    void (*on_progress)(void *user, double share);
    void *user;
};

struct stile_calibration {
    uint32_t n_chunks, n_ctx;             /* windows, and tokens of each */
    uint32_t n_tensors;                   /* matrices that the file says something of */
    uint32_t n_experts, n_experts_unseen; /* of a mixture, over all layers: unseen by any token of the text */
    uint64_t size_bytes;                  /* of the file */
};

/* Finds out how much each input of each matrix of a model matters: mean squares over a text, for whoever quantizes the model.
 * The text is cut into windows as llama.cpp does it: n_ctx tokens each, the first of which is replaced by the beginning
 * token where the vocabulary asks for one; what is left over at the end is not used. Written is a GGUF file in
 * llama.cpp's form ("imatrix"), beside and renamed; the same bytes at any number of threads. ARGUMENT when the text has
 * less than one window. Memory needed beside a layer's weights: about 300 MB and the sums. */
int stile_calibrate(const struct stile_model *model, const char *text, size_t n_bytes, const char *path,
                    const struct stile_calibrate_options *options, struct stile_calibration *result,
                    struct stile_error *error);

/* ---- the machine -------------------------------------------------------------------------- */

struct stile_caches {
    uint64_t l1_bytes, l2_bytes, l3_bytes; /* of data, one instance of each; 0: there is none, or it is not known */
    uint32_t l3_count;                     /* instances that the processors share */
};

struct stile_machine {
    char cpu[96];
    char isa[16];            /* kernels in use by default: "avx2", ... */
    uint32_t n_threads;      /* default number of threads */
    uint64_t memory_bytes;   /* usable by this process (cgroup limits respected) */
    double read_bytes_per_s; /* best sequential read of memory with n_threads */
    bool from_cache;         /* the bandwidth was measured in an earlier run */
    struct stile_caches caches;
    char large_pages[16]; /* "always", "madvise" or "never", as the system gives them; "" where it does not say */
};
/* Describes the machine; its read bandwidth is measured once (about 0.3 s) and kept in the cache folder. */
int stile_machine_describe(struct stile_machine *machine, struct stile_error *error);
/* The same without ever measuring: read_bytes_per_s is 0 when it is not known yet. */
int stile_machine_known(struct stile_machine *machine, struct stile_error *error);

/* Bytes of memory that a session may use now: what is free (limits of control groups respected), less a margin. */
uint64_t stile_memory_free(void);

/* What is measured of a machine; n_threads and size_bytes say how. */
enum stile_quantity {
    STILE_MEMORY_READ, /* bytes per second; size_bytes: the pages asked for */
    STILE_MEMORY_WRITE,
    STILE_MEMORY_COPY,     /* each byte counts once */
    STILE_LATENCY,         /* ns for a load that needs the one before; size_bytes: of the memory it wanders in */
    STILE_MATMUL,          /* multiplications per second of the kernels for `format`, of many tokens */
    STILE_MATMUL_NARROW,   /* the same with short rows */
    STILE_MATMUL_FEW,      /* and of eight tokens */
    STILE_MATMUL_SOME,     /* and of 32, with matrices of size_bytes from memory; 0: from caches, as the others */
    STILE_MATVEC,          /* bytes of weights per second, of one token and matrices of size_bytes, from memory; without
                             * a format: they are only read */
    STILE_MATVEC_CACHED,   /* and from caches */
    STILE_ATTENTION,       /* multiplications per second of many tokens; `format` is that of the KV cache */
    STILE_ATTENTION_TOKEN, /* of one token, the cache coming from memory */
    STILE_ATTENTION_NARROW, /* both with narrow heads */
    STILE_ATTENTION_TOKEN_NARROW,
    STILE_ELEMENTS,        /* norms, activations, sums: elements per second */
    STILE_DISK_SEQUENTIAL, /* bytes per second past the page cache, n_threads reads of size_bytes in flight */
    STILE_DISK_RANDOM,
    STILE_DISK_BUFFERED, /* through the page cache, which does not have them */
    STILE_DISK_STREAMED, /* as weights are that do not fit into memory; `format`: "direct", or "cached" */
    STILE_N_QUANTITIES
};

enum { STILE_PROBE_SAMPLES_MAX = 16, STILE_PROBE_MAX = 256 };

struct stile_measurement {
    enum stile_quantity quantity;
    uint32_t n_threads;
    uint64_t size_bytes; /* 0 where it says nothing */
    char format[12];     /* "Q4_K"; "" for the others */
    double median, best;
    double spread; /* half the distance between the quartiles, as a share of the median */
    uint32_t n_samples;
    double samples[STILE_PROBE_SAMPLES_MAX]; /* in the order of measuring */
};

/* All that was measured at one time. */
struct stile_probe {
    int64_t time; /* seconds since 1970; 0: never */
    double duration_s;
    char commit[64];          /* stile_commit() of the program that measured: kernels change */
    char isa[16];             /* of the kernels */
    double large_pages_share; /* given of those that were asked for; negative: not known */
    char disk_path[256];      /* where reading was measured */
    char disk_kind[24];       /* its file system: "ext4" */
    char disk_note[200];      /* why something of it was not measured, or "" */
    uint32_t n;
    struct stile_measurement measurements[STILE_PROBE_MAX];
};

/* Zero in any field means "the default". */
struct stile_probe_options {
    double time_s;              /* to take, about; default 15 */
    const char *disk;           /* the folder, or the file, to read from; default: the folder of the models */
    const volatile int *cancel; /* when it becomes non-zero, measuring ends */
    void (*on_progress)(void *user, const char *what, uint32_t i, uint32_t n); /* before the i-th of n; may be NULL */
    void *user;
};
/* Measures the machine with its default number of threads, and less; keeps the result in the cache folder. CANCELLED:
 * the probe has what was measured so far, and nothing is kept. */
int stile_probe_measure(struct stile_probe *probe, const struct stile_probe_options *options,
                        struct stile_error *error);
/* What was kept; probe->time is 0 when there is nothing. */
void stile_probe_known(struct stile_probe *probe);
/* NULL when that was not measured; `format` may be NULL. */
const struct stile_measurement *stile_probe_find(const struct stile_probe *probe, enum stile_quantity quantity,
                                                 uint32_t n_threads, uint64_t size_bytes, const char *format);
/* As a JSON object, with units in the names. Free with stile_free; NULL when memory is out. */
char *stile_probe_json(const struct stile_probe *probe);

/* Reads memory as fast as it goes, a little at a time: for knowing the limit while something else is measured. */
struct stile_meter;
int stile_meter_create(struct stile_meter **meter, uint32_t n_threads, struct stile_error *error);
void stile_meter_free(struct stile_meter *meter);
/* Bytes per second, over about time_ns. */
double stile_meter_read(struct stile_meter *meter, uint64_t time_ns);

/* How fast the machine is at the moment: shared ones differ from minute to minute. 0: not known. */
struct stile_pace {
    uint32_t n_threads;        /* that measured the next three, as a probe does */
    double read_bytes_per_s;   /* STILE_MATVEC without a format */
    double matmul_macs_per_s;  /* STILE_MATMUL of Q8_0 */
    double matvec_bytes_per_s; /* STILE_MATVEC_CACHED of Q4_K */
    double disk_bytes_per_s;   /* STILE_DISK_STREAMED, of the file that was asked for */
};
/* All but the disk, in about 0.4 s; all 0 where other processes keep the processors busy. */
void stile_meter_pace(struct stile_meter *meter, struct stile_pace *pace);
/* That of the disk that the file is on, by reading it for about a second; 0 where that fails. */
double stile_disk_pace(const char *path);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
