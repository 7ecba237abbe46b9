#include "text/pretokenizer.h"

#include "base/buffer.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The expressions as published (docs/formats.md, pre-tokenizers), in pcre2's spelling. One departure: "\s+$" begins
 * "(?<!\s)", which changes no match but keeps a run of white space from being tried from each of its characters. */

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define HAN         "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* of an old Unicode */
#define CASED_LETTERS                                                                                                \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}" \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}"   \
    "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}"     \
    "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}"                \
    "\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"                \
    "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}"        \
    "\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}"       \
    "\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}"        \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"                  \
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"        \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}"                 \
    "\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}"                \
    "\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}"        \
    "\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

enum { EXPRESSIONS_MAX = 6 };

struct group {
    const char *expressions[EXPRESSIONS_MAX]; /* applied one after another, each to the pieces left by the one before */
};

static const struct group gpt2 = {{GPT2}};
static const struct group smollm = {{"\\p{N}", GPT2}};
static const struct group llama3 = {
    {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}};
static const struct group qwen2 = {
    {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}};
static const struct group qwen35 = {
    {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}};
static const struct group gpt4o = {{"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTION "?|"
                                    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" CONTRACTION "?|"
                                    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES}};
static const struct group tekken = {{"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
                                     "*|"
                                     "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES}};
static const struct group deepseek_v3 = {
    {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
     "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
     " ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES}};
static const struct group deepseek_coder = {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"}};
static const struct group deepseek_llm = {
    {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+",
     "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "(?<!\\s)\\s+$", HAN,
     "\\p{N}+"}};

static const struct pretokenizer_name {
    const char *name;
    const struct group *group;
    bool ignores_merges, adds_bos;
} names[] = {
    {"default", &gpt2, false, false},
    {"gpt-2", &gpt2, false, false},
    {"phi-2", &gpt2, false, false},
    {"mpt", &gpt2, false, false},
    {"olmo", &gpt2, false, false},
    {"jais", &gpt2, false, false},
    {"exaone4", &gpt2, false, false},
    {"modern-bert", &gpt2, false, false},
    {"smollm", &smollm, false, false},
    {"starcoder", &smollm, false, false},
    {"refact", &smollm, false, false},
    {"command-r", &smollm, false, false},
    {"codeshell", &smollm, false, false},
    {"exaone", &smollm, false, false},
    {"llama3", &llama3, true, true},
    {"llama-v3", &llama3, true, true},
    {"llama-bpe", &llama3, true, true},
    {"falcon3", &llama3, true, true},
    {"falcon-h1", &llama3, true, true},
    {"pixtral", &llama3, true, true},
    {"midm-2.0", &llama3, true, true},
    {"lfm2", &llama3, true, true},
    {"dbrx", &llama3, false, false},
    {"smaug-bpe", &llama3, false, false},
    {"glm4", &llama3, false, false},
    {"chatglm-bpe", &llama3, false, false},
    {"qwen2", &qwen2, false, false},
    {"deepseek-r1-qwen", &qwen2, false, false},
    {"kormo", &qwen2, false, false},
    {"f2llmv2", &qwen2, false, false},
    {"megrez", &qwen2, false, false},
    {"stablelm2", &qwen2, false, false},
    {"hunyuan", &qwen2, false, false},
    {"solar-open", &qwen2, false, false},
    {"qwen35", &qwen35, false, false},
    {"gpt-4o", &gpt4o, false, false},
    {"llama4", &gpt4o, false, false},
    {"kanana2", &gpt4o, false, false},
    {"talkie", &gpt4o, false, false},
    {"minimax-m2", &gpt4o, false, false},
    {"tekken", &tekken, true, true},
    {"deepseek-v3", &deepseek_v3, false, false},
    {"hunyuan-dense", &deepseek_v3, false, false},
    {"joyai-llm", &deepseek_v3, false, false},
    {"deepseek-coder", &deepseek_coder, false, false},
    {"deepseek-llm", &deepseek_llm, false, false},
};

struct pretokenizer {
    const struct pretokenizer_name *name;
    pcre2_code *codes[EXPRESSIONS_MAX];
    size_t n_codes;
    pcre2_match_context *limits;
};

/* What one match may cost where there is no JIT. The expressions need a few steps per character; a text that would
 * need more than this is refused, whatever it is. */
enum { MATCH_STEPS_MAX = 1000000000, MATCH_DEPTH_MAX = 10000, MATCH_HEAP_KIB_MAX = 65536 };

static int name_unknown(const char *name, const char *path, struct stile_error *error)
{
    struct buffer known = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (i > 0) buffer_string(&known, ", ");
        buffer_string(&known, names[i].name);
    }
    int code = error_set(error, STILE_ERROR_UNSUPPORTED,
                         "%s: tokenizer.ggml.pre: \"%.100s\" is not supported; supported are %s", path, name,
                         known.failed ? "others" : known.data);
    buffer_free(&known);
    return code;
}

static int expression_compile(struct pretokenizer *pretokenizer, const char *expression, struct stile_error *error)
{
    int why;
    PCRE2_SIZE where;
    uint32_t options = PCRE2_UTF | PCRE2_UCP;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, options, &why, &where, NULL);
    if (!compiled)
        return error_set(error, STILE_ERROR_UNSUPPORTED, "this pcre2 cannot compile \"%s\" (error %d at %zu)",
                         expression, why, (size_t)where);
    pretokenizer->codes[pretokenizer->n_codes++] = compiled;
    /* where a machine forbids writing code, the interpreter does the same more slowly */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    return STILE_OK;
}

int pretokenizer_create(struct pretokenizer **pretokenizer, const char *name, const char *path,
                        struct stile_error *error)
{
    *pretokenizer = NULL;
    const struct pretokenizer_name *known = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !known; i++) {
        if (strcmp(names[i].name, name) == 0) known = &names[i];
    }
    if (!known) return name_unknown(name, path, error);
    struct pretokenizer *p = calloc(1, sizeof *p);
    if (!p) return error_memory(error, sizeof *p, "the pre-tokenizer");
    p->name = known;
    p->limits = pcre2_match_context_create(NULL);
    int code = p->limits ? STILE_OK : error_memory(error, sizeof *p, "the pre-tokenizer");
    for (size_t i = 0; code == STILE_OK && i < EXPRESSIONS_MAX && known->group->expressions[i]; i++)
        code = expression_compile(p, known->group->expressions[i], error);
    if (code < 0) {
        pretokenizer_free(p);
        return code;
    }
    pcre2_set_match_limit(p->limits, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(p->limits, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(p->limits, MATCH_HEAP_KIB_MAX);
    *pretokenizer = p;
    return STILE_OK;
}

void pretokenizer_free(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer) return;
    for (size_t i = 0; i < pretokenizer->n_codes; i++)
        pcre2_code_free(pretokenizer->codes[i]);
    pcre2_match_context_free(pretokenizer->limits);
    free(pretokenizer);
}

bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->name->ignores_merges;
}

bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->name->adds_bos;
}

void pieces_free(struct pieces *pieces)
{
    free(pieces->ends);
    *pieces = (struct pieces){0};
}

static bool pieces_add(struct pieces *pieces, size_t end)
{
    if (pieces->n == pieces->capacity) {
        size_t capacity = pieces->capacity ? 2 * pieces->capacity : 256;
        size_t *ends = realloc(pieces->ends, capacity * sizeof *ends);
        if (!ends) return false;
        pieces->ends = ends;
        pieces->capacity = capacity;
    }
    pieces->ends[pieces->n++] = end;
    return true;
}

/* What the expressions are shown: *shown is the text itself, or a copy (then to be freed) in which
 * - a byte that is not UTF-8 is U+0001, so that places in both are the same;
 * - U+180E, which pcre2 counts as white space but Unicode does not, is U+200B, of the same category. */
static int text_prepare(const char *text, size_t n, char **shown, struct stile_error *error)
{
    char *copy = NULL;
    for (size_t i = 0; i < n;) {
        if ((unsigned char)text[i] < 0x80) {
            i++;
            continue;
        }
        uint32_t c;
        size_t length = utf8_decode(text + i, n - i, &c);
        if (length == 1 || c == 0x180E) {
            if (!copy) {
                copy = malloc(n);
                if (!copy) return error_memory(error, n, "a text's copy");
                memcpy(copy, text, n);
            }
            if (length == 1) {
                copy[i] = 1;
            } else {
                utf8_encode(0x200B, copy + i);
            }
        }
        i += length;
    }
    *shown = copy;
    return STILE_OK;
}

/* Cuts one piece, [begin, end) of the text: each match is a piece, and so is what lies between. */
static int piece_cut(const struct pretokenizer *pretokenizer, const pcre2_code *code, pcre2_match_data *match,
                     const char *text, size_t begin, size_t end, struct pieces *out, struct stile_error *error)
{
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    PCRE2_SPTR subject = (PCRE2_SPTR)text + begin;
    size_t n = end - begin, at = 0;
    bool ok = true;
    while (ok && at < n) {
        int found = pcre2_match(code, subject, n, at, PCRE2_NO_UTF_CHECK, match, pretokenizer->limits);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
            found = pcre2_match(code, subject, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, pretokenizer->limits);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0)
            return error_set(error, STILE_ERROR_ARGUMENT,
                             "text cannot be cut into words near byte %zu (pcre2 error %d)", begin + at, found);
        assert(range[1] > at && "no expression matches the empty text");
        if (range[0] > at) ok = pieces_add(out, begin + range[0]);
        ok = ok && pieces_add(out, begin + range[1]);
        at = range[1];
    }
    if (ok && at < n) ok = pieces_add(out, end);
    return ok ? STILE_OK : error_memory(error, out->capacity * sizeof *out->ends, "a text's pieces");
}

static int pieces_cut(const struct pretokenizer *pretokenizer, const char *text, size_t n, pcre2_match_data *match,
                      struct pieces *pieces, struct stile_error *error)
{
    if (!pieces_add(pieces, n)) return error_memory(error, sizeof *pieces->ends, "a text's pieces");
    for (size_t i = 0; i < pretokenizer->n_codes; i++) {
        struct pieces cut = {0};
        int code = STILE_OK;
        for (size_t p = 0; code == STILE_OK && p < pieces->n; p++)
            code = piece_cut(pretokenizer, pretokenizer->codes[i], match, text, p ? pieces->ends[p - 1] : 0,
                             pieces->ends[p], &cut, error);
        pieces_free(pieces);
        *pieces = cut;
        if (code < 0) return code;
    }
    return STILE_OK;
}

int pretokenizer_split(const struct pretokenizer *pretokenizer, const char *text, size_t n, struct pieces *pieces,
                       struct stile_error *error)
{
    *pieces = (struct pieces){0};
    if (n == 0) return STILE_OK;
    char *copy = NULL;
    int code = text_prepare(text, n, &copy, error);
    if (code < 0) return code;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match) {
        code = pieces_cut(pretokenizer, copy ? copy : text, n, match, pieces, error);
    } else {
        code = error_memory(error, n, "a text's pieces");
    }
    pcre2_match_data_free(match);
    free(copy);
    if (code < 0) pieces_free(pieces);
    return code;
}
