/* folder_scores.c - from the merges that a SentencePiece vocabulary was published as, back to its scores.
 *
 * SentencePiece joins the two neighbours whose joint spelling is the token of the highest score, of equal ones the
 * leftmost. As merges, every way of cutting a token in two is listed, tokens in the order of their scores. So the order
 * of the results is that of the scores, if
 *   - every cut that SentencePiece could join is listed, once: else it joins what the merges do not;
 *   - the cuts of one token follow each other: else two of them surround those of a token between. (Tokens that the text
 *     is searched for before, user-defined ones, may do so: their scores are equal.)
 * A list of merges for which that is not so was not made from SentencePiece scores; it is refused.
 */
#include "model/folder_private.h"

#include <stdlib.h>
#include <string.h>

static const char file_name[] = "tokenizer.json";

/* The work for a token goes with the square of its length: of all published vocabularies it is a hundredth of this. */
enum { TEXT_BYTES_MAX = 4096, WORK_MAX = 1 << 30 };

struct scoring {
    struct folder *folder;
    const json_t *vocab;
    const struct folder_token *tokens;
    uint32_t n;
    struct span {
        uint32_t first, last, n; /* merges that make the token; n: how many */
    } * spans;
};

/* Can it be a result or a part of joining? */
static bool joins(const struct folder_token *token)
{
    return token->type == FOLDER_NORMAL || token->type == FOLDER_USER_DEFINED || token->type == FOLDER_UNUSED;
}

/* The id of a token that can be joined; -1. */
static int64_t find(const struct scoring *s, const char *text)
{
    const json_t *id = json_object_get(s->vocab, text);
    if (!id) return -1;
    json_int_t i = json_integer_value(id); /* read_tokens has checked it */
    return joins(&s->tokens[i]) ? i : -1;
}

static size_t character_bytes(const char *text)
{
    size_t n = 1;
    while (((unsigned char)text[n] & 0xC0) == 0x80)
        n++;
    return n;
}

/* A symbol that can occur while joining: a token, or any one character. */
static bool occurs(const struct scoring *s, const char *text)
{
    return text[character_bytes(text)] == '\0' || find(s, text) >= 0;
}

static int fail(const struct scoring *s, const char *why, const char *text)
{
    return folder_fail(
        s->folder, STILE_ERROR_UNSUPPORTED, file_name,
        "its merges do not come from SentencePiece scores: %s (token \"%.60s\"); such a tokenizer is not "
        "supported",
        why, text);
}

/* The parts of a merge, in either form, and their result. */
static bool parts(const json_t *merge, char left[TEXT_BYTES_MAX], char right[TEXT_BYTES_MAX],
                  char joint[TEXT_BYTES_MAX])
{
    const char *text = json_string_value(merge), *a = json_string_value(json_array_get(merge, 0)),
               *b = json_string_value(json_array_get(merge, 1)), *space = text ? strchr(text, ' ') : NULL;
    size_t n_a = a ? strlen(a) : 0;
    if (space && !strchr(space + 1, ' ')) {
        a = text;
        n_a = (size_t)(space - text);
        b = space + 1;
    }
    if (!a || !b || n_a == 0 || !*b || n_a + strlen(b) >= TEXT_BYTES_MAX) return false;
    memcpy(left, a, n_a);
    left[n_a] = '\0';
    strcpy(right, b);
    memcpy(joint, left, n_a);
    strcpy(joint + n_a, right);
    return true;
}

static int count_merges(struct scoring *s, const json_t *merges)
{
    char left[TEXT_BYTES_MAX], right[TEXT_BYTES_MAX], joint[TEXT_BYTES_MAX];
    uint32_t rank = 0;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        if (!parts(json_array_get(merges, i), left, right, joint))
            return folder_fail(s->folder, STILE_ERROR_MALFORMED, file_name, "model.merges[%zu] is not a pair of tokens",
                               i);
        int64_t id = find(s, joint);
        if (id < 0 || !occurs(s, left) || !occurs(s, right)) continue; /* never comes to it */
        struct span *span = &s->spans[id];
        if (span->n == 0) span->first = rank;
        span->last = rank++;
        span->n++;
    }
    return 0;
}

/* How many cuts of the token could be joined. */
static uint32_t count_cuts(const struct scoring *s, const char *text)
{
    char left[TEXT_BYTES_MAX];
    uint32_t n = 0;
    if (strlen(text) >= TEXT_BYTES_MAX) return UINT32_MAX;
    for (size_t at = character_bytes(text); text[at]; at += character_bytes(text + at)) {
        memcpy(left, text, at);
        left[at] = '\0';
        n += occurs(s, text + at) && occurs(s, left);
    }
    return n;
}

struct order {
    uint32_t first, id;
};

static int by_first(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Scores fall from each token, or block of tokens whose merges are mixed, to the next. */
static int set_scores(struct scoring *s, struct order *order, size_t n, float *scores)
{
    uint32_t end = 0, rank = 0;
    if (n > 0) qsort(order, n, sizeof *order, by_first);
    for (size_t i = 0; i < n; i++) {
        const struct span *span = &s->spans[order[i].id];
        const struct folder_token *token = &s->tokens[order[i].id];
        bool begins = i == 0 || span->first > end;
        if (begins) rank++;
        if ((!begins || span->last - span->first + 1 != span->n) && token->type != FOLDER_USER_DEFINED)
            return fail(s, "merges of several tokens are mixed", token->text);
        if (begins || span->last > end) end = span->last;
        scores[order[i].id] = -(float)rank;
    }
    return 0;
}

static int score(struct scoring *s, const json_t *merges, struct order *order, float *scores)
{
    size_t n = 0;
    uint64_t work = 0;
    int failed = count_merges(s, merges);
    for (uint32_t id = 0; id < s->n && !failed; id++) {
        const struct folder_token *token = &s->tokens[id];
        if (!token->text || !*token->text || !joins(token)) continue;
        work += (uint64_t)strlen(token->text) * strlen(token->text);
        if (work > WORK_MAX)
            failed = fail(s, "too many long tokens", token->text);
        else if (count_cuts(s, token->text) != s->spans[id].n)
            failed = fail(s, "they are not all the ways to make a token of two", token->text);
        else if (s->spans[id].n > 0)
            order[n++] = (struct order){s->spans[id].first, id};
    }
    return failed ? failed : set_scores(s, order, n, scores);
}

int folder_scores(struct folder *folder, const json_t *model, const struct folder_token *tokens, float *scores)
{
    const json_t *merges = json_object_get(model, "merges");
    struct scoring s = {
        .folder = folder, .vocab = json_object_get(model, "vocab"), .tokens = tokens, .n = (uint32_t)folder->n_vocab};
    if (!json_is_array(merges) || json_array_size(merges) > INT32_MAX)
        return folder_fail(folder, STILE_ERROR_MALFORMED, file_name, "model.merges is not an array");
    s.spans = calloc(s.n, sizeof *s.spans);
    struct order *order = calloc(s.n, sizeof *order);
    int failed = s.spans && order ? score(&s, merges, order, scores)
                                  : error_memory(folder->error, s.n * sizeof *s.spans, "scores");
    free(s.spans);
    free(order);
    return failed;
}
