#include "file/hub.h"

#include "base/arena.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    ANSWER_BYTES_MAX = 16 << 20,
    FILES_MAX = 10000,
    PATH_BYTES_MAX = 512,
    SHARD_SUFFIX_BYTES = 15, /* -00001-of-00003 */
};

/* A GGUF file of the repository; of a set the first, which stands for all. */
struct file {
    const char *path, *base; /* base: after the last slash */
    size_t n_stem;           /* of base, without ".gguf" and without the place in a set */
    uint64_t size_bytes;     /* of all shards; 0: not known */
    unsigned shard;          /* 1, 2, ...; 0: not of a set */
    bool is_model;
};

struct list {
    struct file *files;
    size_t n;
    size_t n_prefix; /* bytes that the names of all models begin with, up to a '-' or '.' */
};

/* ---- the list ----------------------------------------------------------------------------------- */

/* "-00001-of-00003" at the end of the first n bytes: which one? */
static unsigned shard_of(const char *name, size_t n)
{
    static const char form[] = "-ddddd-of-ddddd";
    if (n <= SHARD_SUFFIX_BYTES) return 0;
    const char *at = name + n - SHARD_SUFFIX_BYTES;
    for (size_t i = 0; i < SHARD_SUFFIX_BYTES; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)at[i]) : at[i] != form[i]) return 0;
    return (unsigned)strtoul(at + 1, NULL, 10);
}

static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcasecmp(path + n - 5, ".gguf") == 0;
}

static uint64_t size_of(const json_t *sibling)
{
    const json_t *size = json_object_get(sibling, "size");
    if (!json_is_integer(size)) size = json_object_get(json_object_get(sibling, "lfs"), "size");
    json_int_t bytes = json_integer_value(size); /* 0 for anything else */
    return bytes > 0 ? (uint64_t)bytes : 0;
}

static void add_file(struct list *list, const json_t *sibling)
{
    const char *path = json_string_value(json_object_get(sibling, "rfilename"));
    if (!path || strlen(path) > PATH_BYTES_MAX || !is_gguf(path)) return;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    struct file file = {.path = path, .base = base, .size_bytes = size_of(sibling)};
    file.n_stem = strlen(base) - 5;
    file.shard = shard_of(base, file.n_stem);
    if (file.shard > 0) file.n_stem -= SHARD_SUFFIX_BYTES;
    file.is_model = file.shard <= 1 && strncasecmp(base, "mmproj", 6) != 0 && strncasecmp(base, "imatrix", 7) != 0;
    list->files[list->n++] = file;
}

/* Adds the other shards' sizes to the first's. */
static void sum_shards(struct list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        struct file *first = &list->files[i];
        if (first->shard != 1) continue;
        size_t n = (size_t)(first->base - first->path) + first->n_stem;
        for (size_t k = 0; k < list->n; k++) {
            const struct file *other = &list->files[k];
            if (other->shard > 1 && (size_t)(other->base - other->path) + other->n_stem == n &&
                strncmp(other->path, first->path, n) == 0)
                first->size_bytes += other->size_bytes;
        }
    }
}

static void find_prefix(struct list *list)
{
    const struct file *first = NULL;
    for (size_t i = 0; i < list->n; i++) {
        const struct file *file = &list->files[i];
        if (!file->is_model) continue;
        if (!first) {
            first = file;
            list->n_prefix = file->n_stem;
            continue;
        }
        size_t n = 0;
        while (n < list->n_prefix && n < file->n_stem && file->base[n] == first->base[n])
            n++;
        list->n_prefix = n;
    }
    while (list->n_prefix > 0 && first->base[list->n_prefix - 1] != '-' && first->base[list->n_prefix - 1] != '.')
        list->n_prefix--;
}

/* ---- choosing ----------------------------------------------------------------------------------- */

/* Is it one of the words of the stem? '_' belongs to words: Q4_K is not part of Q4_K_M. */
static bool has_word(const char *stem, size_t n, const char *word)
{
    size_t n_word = strlen(word);
    for (size_t at = 0; n_word > 0 && at + n_word <= n; at++)
        if (strncasecmp(stem + at, word, n_word) == 0 && (at == 0 || strchr("-.", stem[at - 1])) &&
            (at + n_word == n || strchr("-.", stem[at + n_word])))
            return true;
    return false;
}

/* How well a file fits a selector: 0 not at all; 3 by its whole name. */
static int fitness(const struct file *file, const char *selector)
{
    if (selector && (strcmp(selector, file->path) == 0 || strcmp(selector, file->base) == 0)) return 3;
    if (!file->is_model) return 0;
    if (!selector) return 1;
    if (strlen(selector) == file->n_stem && strncasecmp(file->base, selector, file->n_stem) == 0) return 2;
    return has_word(file->base, file->n_stem, selector);
}

/* Of several files that have the word, the one that others only add words to: X-Q4_K_M where there is X-UD-Q4_K_M too.
 * NULL when there is none. */
static const struct file *plainest(const struct list *list, const char *word)
{
    const struct file *plain = NULL;
    size_t n_word = strlen(word);
    for (size_t i = 0; i < list->n; i++)
        if (fitness(&list->files[i], word) == 1 && (!plain || list->files[i].n_stem < plain->n_stem))
            plain = &list->files[i];
    for (size_t i = 0; plain && i < list->n; i++) {
        const struct file *other = &list->files[i];
        if (other == plain || fitness(other, word) != 1) continue;
        if (other->n_stem == plain->n_stem || strncasecmp(other->base, plain->base, plain->n_stem - n_word) != 0)
            return NULL;
    }
    return plain;
}

static void put_size(struct buffer *out, uint64_t size_bytes)
{
    if (size_bytes == 0) return;
    if (size_bytes >= 1u << 30)
        buffer_printf(out, " %.1f GiB", (double)size_bytes / (1u << 30));
    else
        buffer_printf(out, " %.0f MiB", (double)size_bytes / (1u << 20));
}

/* "Q4_K_M 770 MiB, Q8_0 1.2 GiB" of those that fit as well as that; in full when they would look alike. */
static void put_list(struct buffer *out, const struct list *list, const char *selector, int wanted)
{
    enum { TEXT_BYTES_MAX = 700 }; /* so that the message holds it */
    size_t n_left = 0, begin = out->n;
    for (size_t i = 0; i < list->n; i++) {
        const struct file *file = &list->files[i];
        if (wanted > 0 ? fitness(file, selector) != wanted : !file->is_model) continue;
        if (out->n - begin > TEXT_BYTES_MAX) {
            n_left++;
            continue;
        }
        if (out->n > begin) buffer_string(out, ", ");
        if (wanted > 0 && selector)
            buffer_printf(out, "%.200s", file->path);
        else
            buffer_printf(out, "%.*s", (int)(file->n_stem < 200 + list->n_prefix ? file->n_stem - list->n_prefix : 200),
                          file->base + list->n_prefix);
        put_size(out, file->size_bytes);
    }
    if (n_left > 0) buffer_printf(out, " and %zu more", n_left);
}

static int fail_choice(const struct list *list, const char *repo, const char *selector, int best, size_t n_best,
                       struct stile_error *error)
{
    struct buffer text = {0};
    size_t n_models = 0;
    for (size_t i = 0; i < list->n; i++)
        n_models += list->files[i].is_model;
    if (n_models == 0)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%.200s: this repository holds no GGUF model (look for one that does)", repo);
    put_list(&text, list, selector, best);
    int code = text.failed ? error_memory(error, 1000, "a list")
               : best == 0 ? error_set(error, STILE_ERROR_ARGUMENT, "%.200s: no file \"%.100s\"; there are: %s", repo,
                                       selector, text.data)
               : selector  ? error_set(error, STILE_ERROR_ARGUMENT, "%.200s: \"%.100s\" fits %zu files, name one: %s",
                                       repo, selector, n_best, text.data)
                           : error_set(error, STILE_ERROR_ARGUMENT,
                                       "%.200s: holds %zu models, name one of them behind a colon: %s", repo, n_best,
                                       text.data);
    buffer_free(&text);
    return code;
}

static int choose(const struct list *list, const char *repo, const char *selector, char **chosen,
                  struct stile_error *error)
{
    int best = 0;
    size_t n_best = 0;
    const struct file *found = NULL;
    for (size_t i = 0; i < list->n; i++) {
        int is = fitness(&list->files[i], selector);
        if (is < best || is == 0) continue;
        n_best = is == best ? n_best + 1 : 1;
        best = is;
        found = &list->files[i];
    }
    if (best == 1 && n_best > 1 && selector) {
        const struct file *plain = plainest(list, selector);
        if (plain) found = plain, n_best = 1;
    }
    if (n_best != 1) return fail_choice(list, repo, selector, best, n_best, error);
    *chosen = strdup(found->path);
    return *chosen ? 0 : error_memory(error, strlen(found->path), "a name");
}

int hub_choose(const char *json, size_t n_bytes, const char *repo, const char *selector, char **file,
               struct stile_error *error)
{
    json_error_t where;
    json_t *root = json_loadb(json, n_bytes, 0, &where);
    const json_t *siblings = json_object_get(root, "siblings");
    size_t n = json_array_size(siblings);
    struct list list = {0};
    int code;
    if (!root) {
        code = error_set(error, STILE_ERROR_MALFORMED, "%.200s: the hub's answer is not JSON: byte %d: %s", repo,
                         where.position, where.text);
    } else if (!json_is_array(siblings) || n > FILES_MAX) {
        code = error_set(error, STILE_ERROR_MALFORMED, "%.200s: the hub's answer has no list of at most %d files", repo,
                         FILES_MAX);
    } else if (!(list.files = calloc(n + 1, sizeof *list.files))) {
        code = error_memory(error, n * sizeof *list.files, "a list of files");
    } else {
        for (size_t i = 0; i < n; i++)
            add_file(&list, json_array_get(siblings, i));
        sum_shards(&list);
        find_prefix(&list);
        code = choose(&list, repo, selector, file, error);
    }
    free(list.files);
    json_decref(root);
    return code;
}

/* ---- names -------------------------------------------------------------------------------------- */

/* Bytes of "org" or "repo" at the beginning. */
static size_t name_bytes(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (n > 0 && text[n] && strchr("-_.", text[n])))
        n++;
    return n;
}

bool hub_is_name(const char *name)
{
    size_t n_org = name_bytes(name);
    if (n_org == 0 || name[n_org] != '/') return false;
    size_t n_repo = name_bytes(name + n_org + 1);
    const char *end = name + n_org + 1 + n_repo;
    if (n_repo == 0 || n_org + n_repo > 200) return false;
    if (*end == ':') return end[1] && strlen(end) <= PATH_BYTES_MAX;
    return !*end && !is_gguf(name);
}

/* All but letters, digits and a few others as %XX. */
static void put_escaped(struct buffer *out, const char *path)
{
    for (; *path; path++)
        if (isalnum((unsigned char)*path) || strchr("-_.~/", *path))
            buffer_char(out, *path);
        else
            buffer_printf(out, "%%%02X", (unsigned)(unsigned char)*path);
}

int hub_find(struct remote *remote, const char *home, const char *name, char **url, struct stile_error *error)
{
    struct buffer question = {0}, body = {.limit = ANSWER_BYTES_MAX}, answer = {0};
    const char *colon = strchr(name, ':');
    char repo[256], *file = NULL;
    int n_home = (int)strlen(home);
    while (n_home > 0 && home[n_home - 1] == '/')
        n_home--;
    snprintf(repo, sizeof repo, "%.*s", colon ? (int)(colon - name) : (int)strlen(name), name);
    buffer_printf(&question, "%.*s/api/models/%s?blobs=true", n_home, home, repo);
    int code =
        question.failed ? error_memory(error, strlen(name), "a URL") : remote_get(remote, question.data, &body, error);
    if (code == 0) code = hub_choose(body.data, body.n, repo, colon ? colon + 1 : NULL, &file, error);
    if (code == 0) {
        buffer_printf(&answer, "%.*s/%s/resolve/main/", n_home, home, repo);
        put_escaped(&answer, file);
        *url = buffer_take(&answer);
        if (!*url) code = error_memory(error, strlen(file), "a URL");
    }
    free(file);
    buffer_free(&question);
    buffer_free(&body);
    return code;
}
