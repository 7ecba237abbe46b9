#include "model/mix.h"

#include <stdio.h>
#include <strings.h>

/* When a tensor gets a rule's first format; otherwise it gets the second. */
enum when {
    NEVER, /* and then it gets the mix's base format */
    ALWAYS,
    GQA_4,   /* at least 4 query heads share a value head */
    FIRST_2, /* of the layers */
    FIRST_4,
    FIRST_8TH,
    FIRST_8TH_PLAIN,   /* without an importance matrix */
    FIRST_8TH_IMATRIX, /* with one */
    FIRST_16TH,
    MORE, /* the first and last eighth, and every third between */
};

struct rule {
    enum when when;
    enum format then, otherwise;
};

struct mix {
    const char *name;
    uint32_t file_type;
    enum format base, output, embedding;
    struct rule attn_v, ffn_down, attn_output;
};

#define TO(format) FORMAT_##format

/* clang-format off */
#define RULE(when, then, otherwise) {when, TO(then), TO(otherwise)}
#define EVER(then)                  {ALWAYS, TO(then), TO(then)}
#define BASE                        {NEVER, TO(F32), TO(F32)}
#define MIX(name, file_type, base, output, embedding, attn_v, ffn_down, attn_output) \
    {name, file_type, TO(base), TO(output), TO(embedding), attn_v, ffn_down, attn_output}

static const struct mix mixes[] = {
    MIX("f32",      0, F32,     F32,  F32,     BASE, BASE, BASE),
    MIX("f16",      1, F16,     F16,  F16,     BASE, BASE, BASE),
    MIX("bf16",    32, BF16,    BF16, BF16,    BASE, BASE, BASE),
    MIX("q8_0",     7, Q8_0,    Q8_0, Q8_0,    BASE, BASE, BASE),
    MIX("q6_k",    18, Q6_K,    Q6_K, Q6_K,    BASE, BASE, BASE),
    MIX("q5_k_m",  17, Q5_K,    Q6_K, Q5_K,    RULE(MORE, Q6_K, Q5_K), RULE(MORE, Q6_K, Q5_K), BASE),
    MIX("q5_k_s",  16, Q5_K,    Q6_K, Q5_K,    BASE, BASE, BASE),
    MIX("q5_1",     9, Q5_1,    Q6_K, Q5_1,    BASE, BASE, BASE),
    MIX("q5_0",     8, Q5_0,    Q6_K, Q5_0,    BASE, RULE(FIRST_8TH_IMATRIX, Q5_1, Q5_0), BASE),
    MIX("q4_k_m",  15, Q4_K,    Q6_K, Q4_K,    RULE(MORE, Q6_K, Q4_K), RULE(MORE, Q6_K, Q4_K), BASE),
    MIX("q4_k_s",  14, Q4_K,    Q6_K, Q4_K,    RULE(FIRST_4, Q5_K, Q4_K), RULE(FIRST_8TH, Q5_K, Q4_K), BASE),
    MIX("q4_1",     3, Q4_1,    Q6_K, Q4_1,    BASE, BASE, BASE),
    MIX("q4_0",     2, Q4_0,    Q6_K, Q4_0,    BASE, RULE(FIRST_8TH_IMATRIX, Q4_1, Q4_0), BASE),
    MIX("iq4_nl",  25, IQ4_NL,  Q6_K, IQ4_NL,  RULE(GQA_4, Q5_K, IQ4_NL), RULE(FIRST_8TH_PLAIN, Q5_K, IQ4_NL), BASE),
    MIX("iq4_xs",  30, IQ4_XS,  Q6_K, IQ4_XS,  RULE(GQA_4, Q5_K, IQ4_XS), RULE(FIRST_8TH_PLAIN, Q5_K, IQ4_XS), BASE),
    MIX("mxfp4",   38, MXFP4,   Q6_K, Q6_K,    BASE, BASE, BASE), /* dense models: our own choice; the next: always */
    MIX("nvfp4",   39, NVFP4,   Q6_K, Q6_K,    BASE, BASE, BASE),
    MIX("q3_k_l",  13, Q3_K,    Q6_K, Q3_K,    EVER(Q5_K), EVER(Q5_K), EVER(Q5_K)),
    MIX("q3_k_m",  12, Q3_K,    Q6_K, Q3_K,    RULE(FIRST_2, Q5_K, Q4_K), RULE(FIRST_16TH, Q5_K, Q4_K), EVER(Q4_K)),
    MIX("q3_k_s",  11, Q3_K,    Q6_K, Q3_K,    BASE, BASE, BASE),
    MIX("iq3_s",   26, IQ3_S,   Q6_K, IQ3_S,   BASE, BASE, BASE),
    MIX("iq3_xxs", 23, IQ3_XXS, Q5_K, IQ3_S,   BASE, BASE, BASE),
    MIX("q2_k",    10, Q2_K,    Q6_K, Q2_K,    RULE(GQA_4, Q4_K, Q3_K), EVER(Q3_K), EVER(Q3_K)),
    MIX("q2_k_s",  21, Q2_K,    Q6_K, Q2_K,    RULE(GQA_4, Q4_K, Q2_K), RULE(FIRST_8TH, Q4_K, Q2_K), BASE),
    MIX("iq2_m",   29, IQ2_S,   Q5_K, IQ3_S,   RULE(GQA_4, Q4_K, IQ3_S), RULE(FIRST_8TH, IQ3_S, IQ2_S), EVER(IQ3_S)),
    MIX("iq2_s",   28, IQ2_XS,  Q5_K, IQ3_S,   RULE(GQA_4, Q4_K, IQ3_S), RULE(FIRST_8TH, IQ3_S, IQ2_XS), EVER(IQ3_S)),
    MIX("iq2_xs",  20, IQ2_XS,  Q5_K, Q2_K,    RULE(GQA_4, Q4_K, Q2_K), RULE(FIRST_8TH, Q2_K, IQ2_XS), BASE),
    MIX("iq2_xxs", 19, IQ2_XXS, Q5_K, Q2_K,    RULE(GQA_4, Q4_K, Q2_K), RULE(FIRST_8TH, Q2_K, IQ2_XXS), BASE),
    MIX("iq1_m",   31, IQ1_M,   Q5_K, Q2_K,    RULE(GQA_4, Q4_K, Q2_K), RULE(FIRST_8TH, Q2_K, IQ1_M), EVER(IQ2_XXS)),
    MIX("iq1_s",   24, IQ1_S,   Q5_K, Q2_K,    RULE(GQA_4, Q4_K, Q2_K), RULE(FIRST_8TH, Q2_K, IQ1_S), EVER(IQ2_XXS)),
    MIX("tq2_0",   37, TQ2_0,   Q6_K, Q4_K,    BASE, BASE, BASE),
    MIX("tq1_0",   36, TQ1_0,   Q6_K, Q4_K,    BASE, BASE, BASE),
    MIX("q2_0",    41, Q2_0,    Q6_K, Q4_K,    BASE, BASE, BASE),
    MIX("q1_0",    40, Q1_0,    Q6_K, Q1_0,    BASE, BASE, BASE),
};
/* clang-format on */
enum { N_MIXES = sizeof mixes / sizeof *mixes };

static const struct {
    const char *name, *means;
} short_names[] = {{"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}};

const struct mix *mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (strcasecmp(short_names[i].name, name) == 0) name = short_names[i].means;
    for (size_t i = 0; i < N_MIXES; i++)
        if (strcasecmp(mixes[i].name, name) == 0) return &mixes[i];
    return NULL;
}

const struct mix *mix_at(size_t i)
{
    return i < N_MIXES ? &mixes[i] : NULL;
}

void mix_names(char *names, size_t capacity)
{
    size_t n = 0;
    for (size_t i = 0; i < N_MIXES && n < capacity; i++)
        n += (size_t)snprintf(names + n, capacity - n, "%s%s", i > 0 ? ", " : "", mixes[i].name);
}

enum format mix_base(const struct mix *mix)
{
    return mix->base;
}

const char *mix_name(const struct mix *mix)
{
    return mix->name;
}

uint32_t mix_file_type(const struct mix *mix)
{
    return mix->file_type;
}

enum mix_class mix_class_of(enum role role, bool tied)
{
    switch (role) {
    case ROLE_TOKEN_EMBD: return tied ? MIX_OUTPUT : MIX_EMBEDDING;
    case ROLE_OUTPUT: return MIX_OUTPUT;
    case ROLE_ATTN_V: return MIX_ATTN_V;
    case ROLE_ATTN_K: return MIX_ATTN_K;
    case ROLE_ATTN_OUTPUT: return MIX_ATTN_OUTPUT;
    case ROLE_FFN_DOWN: return MIX_FFN_DOWN;
    case ROLE_FFN_GATE_EXPERTS:
    case ROLE_FFN_UP_EXPERTS: return MIX_EXPERTS;
    case ROLE_FFN_DOWN_EXPERTS: return MIX_EXPERTS_DOWN;
    default: return MIX_OTHER;
    }
}

static bool applies(enum when when, const struct hparams *h, uint32_t i, bool imatrix)
{
    uint32_t n = h->n_layers;
    switch (when) {
    case NEVER: return false;
    case ALWAYS: return true;
    case GQA_4: return h->n_heads / h->n_kv_heads >= 4;
    case FIRST_2: return i < 2;
    case FIRST_4: return i < 4;
    case FIRST_8TH: return i < n / 8;
    case FIRST_8TH_PLAIN: return !imatrix && i < n / 8;
    case FIRST_8TH_IMATRIX: return imatrix && i < n / 8;
    case FIRST_16TH: return i < n / 16;
    case MORE: return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    }
    return false;
}

static enum format choose(const struct mix *mix, const struct rule *rule, const struct hparams *h, uint32_t layer,
                          bool imatrix)
{
    if (rule->when == NEVER) return mix->base;
    return applies(rule->when, h, layer, imatrix) ? rule->then : rule->otherwise;
}

static bool fits(enum format format, uint64_t cols)
{
    return cols % format_info(format)->block_elements == 0;
}

enum format mix_fitting(enum format format, uint64_t cols)
{
    static const enum format smaller[FORMAT_COUNT] = {
        [FORMAT_IQ1_S] = TO(IQ4_NL),  [FORMAT_IQ1_M] = TO(IQ4_NL),  [FORMAT_IQ2_XXS] = TO(IQ4_NL),
        [FORMAT_IQ2_XS] = TO(IQ4_NL), [FORMAT_IQ2_S] = TO(IQ4_NL),  [FORMAT_IQ3_XXS] = TO(IQ4_NL),
        [FORMAT_IQ3_S] = TO(IQ4_NL),  [FORMAT_IQ4_XS] = TO(IQ4_NL), [FORMAT_Q2_K] = TO(Q4_0),
        [FORMAT_Q3_K] = TO(Q4_0),     [FORMAT_TQ1_0] = TO(Q4_0),    [FORMAT_TQ2_0] = TO(Q4_0),
        [FORMAT_Q1_0] = TO(Q4_0),     [FORMAT_Q2_0] = TO(Q4_0),     [FORMAT_Q4_K] = TO(Q5_0),
        [FORMAT_Q5_K] = TO(Q5_1),     [FORMAT_Q6_K] = TO(Q8_0),
    };
    if (!fits(format, cols) && smaller[format] != FORMAT_F32) format = smaller[format];
    return fits(format, cols) ? format : FORMAT_F16;
}

static bool is_float(enum format format)
{
    return format == FORMAT_F32 || format == FORMAT_F16 || format == FORMAT_BF16;
}

/* The formats with less than three bits, whose files have rules of their own. */
static bool is_low(enum format format)
{
    return format == FORMAT_IQ1_S || format == FORMAT_IQ1_M || format == FORMAT_IQ2_XXS || format == FORMAT_IQ2_XS ||
           format == FORMAT_IQ2_S;
}

/* What mixtures of experts get instead of `format`: attention is small beside their experts, so it gets more bits. The
 * rules for eight experts were made for Mixtral. */
static enum format of_mixture(const struct mix *mix, enum mix_class class, const struct hparams *h, enum format format)
{
    bool eight = h->n_experts == 8, low = is_low(mix->base), q2_k = mix->base == FORMAT_Q2_K;
    bool q2_k_s = q2_k && mix->attn_output.when == NEVER;
    bool q2_to_q4 = (q2_k && !q2_k_s) || mix->base == FORMAT_Q3_K || mix->base == FORMAT_Q4_K;
    bool experts = class == MIX_EXPERTS || class == MIX_EXPERTS_DOWN;
    if (is_float(mix->base)) return format;
    if (mix->base == FORMAT_MXFP4) return experts || class == MIX_OUTPUT ? format : FORMAT_Q8_0;
    if (class == MIX_ATTN_V && low && h->n_experts >= 4) return FORMAT_Q4_K;
    if (!eight) return format;
    switch (class) {
    case MIX_ATTN_V:
    case MIX_ATTN_K: return low ? FORMAT_Q4_K : FORMAT_Q8_0;
    case MIX_ATTN_OUTPUT: return low || q2_to_q4 ? FORMAT_Q5_K : format;
    case MIX_EXPERTS_DOWN: return q2_k && !q2_k_s ? FORMAT_Q5_K : format;
    default: return format;
    }
}

enum format mix_format(const struct mix *mix, enum mix_class class, const struct hparams *hparams, uint32_t layer,
                       uint64_t cols, bool imatrix)
{
    enum format format = mix->base;
    switch (class) {
    case MIX_EMBEDDING: format = mix->embedding; break;
    case MIX_OUTPUT: format = fits(mix->base, cols) ? mix->output : FORMAT_Q8_0; break;
    case MIX_ATTN_V: format = choose(mix, &mix->attn_v, hparams, layer, imatrix); break;
    case MIX_ATTN_OUTPUT: format = choose(mix, &mix->attn_output, hparams, layer, imatrix); break;
    case MIX_FFN_DOWN:
    case MIX_EXPERTS_DOWN: format = choose(mix, &mix->ffn_down, hparams, layer, imatrix); break;
    case MIX_ATTN_K:
    case MIX_EXPERTS:
    case MIX_OTHER: break;
    }
    if (hparams->n_experts > 0) format = of_mixture(mix, class, hparams, format);
    /* the value heads of the 70B shape are few and serve many: they get more bits */
    if (class == MIX_ATTN_V && hparams->family == FAMILY_LLAMA && hparams->n_layers == 80 &&
        hparams->n_heads != hparams->n_kv_heads && (format == FORMAT_Q3_K || format == FORMAT_Q4_K))
        format = FORMAT_Q5_K;
    return mix_fitting(format, cols);
}
