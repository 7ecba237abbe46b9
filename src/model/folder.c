#include "model/folder_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of published files the largest have 3 % of the first and half of the second. */
enum { CONFIG_BYTES_MAX = 4 << 20, TOKENIZER_BYTES_MAX = 64 << 20, PATH_BYTES = 4096 };

int folder_fail(struct folder *folder, int code, const char *file, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return error_set(folder->error, code, "%s/%s: %s", folder->path, file, message);
}

const char *folder_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

int folder_u32(struct folder *folder, const char *file, const json_t *object, const char *key, uint32_t min,
               uint32_t max, uint32_t *value)
{
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found)) return 0;
    json_int_t number = json_integer_value(found);
    if (!json_is_integer(found) || number < min || number > max)
        return folder_fail(folder, STILE_ERROR_MALFORMED, file, "%s is not a whole number from %u to %u", key, min,
                           max);
    *value = (uint32_t)number;
    return 0;
}

int folder_double(struct folder *folder, const char *file, const json_t *object, const char *key, double min,
                  double max, double *value)
{
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found)) return 0;
    double number = json_number_value(found);
    if (!json_is_number(found) || !(number >= min && number <= max))
        return folder_fail(folder, STILE_ERROR_MALFORMED, file, "%s is not a number from %g to %g", key, min, max);
    *value = number;
    return 0;
}

int folder_bool(struct folder *folder, const char *file, const json_t *object, const char *key, bool *value)
{
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found)) return 0;
    if (!json_is_boolean(found))
        return folder_fail(folder, STILE_ERROR_MALFORMED, file, "%s is neither true nor false", key);
    *value = json_is_true(found);
    return 0;
}

static int read_all(struct folder *folder, const char *file, int fd, size_t n, char *text)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, text + at, n - at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return folder_fail(folder, STILE_ERROR_IO, file, "cannot read: %s",
                               got < 0 ? strerror(errno) : "it became shorter meanwhile");
        at += (size_t)got;
    }
    return 0;
}

int folder_text(struct folder *folder, const char *file, size_t max_bytes, char **text, size_t *n)
{
    char path[PATH_BYTES];
    struct stat status;
    *text = NULL;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder->path, file) >= sizeof path)
        return error_set(folder->error, STILE_ERROR_ARGUMENT, "path too long: %s", folder->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of that name must not stop everything */
    if (fd < 0 && errno == ENOENT) return 0;
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        int code = folder_fail(folder, STILE_ERROR_IO, file, "cannot read: %s", fd < 0 ? strerror(errno) : "no file");
        if (fd >= 0) close(fd);
        return code;
    }
    int failed = 0;
    *n = (size_t)status.st_size;
    if (status.st_size > (off_t)max_bytes)
        failed = folder_fail(folder, STILE_ERROR_UNSUPPORTED, file, "%" PRId64 " bytes; at most %zu are read",
                             (int64_t)status.st_size, max_bytes);
    else if (!(*text = malloc(*n + 1)))
        failed = error_memory(folder->error, *n, file);
    else
        failed = read_all(folder, file, fd, *n, *text);
    close(fd);
    if (!failed) (*text)[*n] = '\0';
    if (!failed) return 0;
    free(*text);
    *text = NULL;
    return failed;
}

/* *json is NULL where there is no such file, unless it is needed. */
static int read_json(struct folder *folder, const char *file, size_t max_bytes, bool needed, size_t flags,
                     json_t **json)
{
    json_error_t why;
    char *text;
    size_t n;
    int failed = folder_text(folder, file, max_bytes, &text, &n);
    if (failed) return failed;
    if (!text && !needed) return 0;
    if (!text)
        return folder_fail(folder, STILE_ERROR_IO, file,
                           "it is missing (a model's folder has config.json, "
                           "tokenizer.json and .safetensors files)");
    *json = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, &why);
    free(text);
    if (!*json)
        return folder_fail(folder, STILE_ERROR_MALFORMED, file, "line %d: %s (download it again)", why.line, why.text);
    if (json_is_object(*json)) return 0;
    return folder_fail(folder, STILE_ERROR_MALFORMED, file, "not a JSON object (download it again)");
}

static int load(struct folder *folder)
{
    gguf_header_init(&folder->header, NULL);
    int failed = read_json(folder, "config.json", CONFIG_BYTES_MAX, true, 0, &folder->config);
    if (!failed) failed = folder_config(folder);
    if (!failed) failed = safetensors_open(&folder->weights, folder->path, folder->error);
    if (!failed) failed = folder_tensors(folder);
    if (!failed) failed = read_json(folder, "generation_config.json", CONFIG_BYTES_MAX, false, 0, &folder->generation);
    if (!failed) failed = read_json(folder, "tokenizer.json", TOKENIZER_BYTES_MAX, true, 0, &folder->tokenizer);
    if (!failed) /* a length without a limit is 10^30 there, which is no integer here */
        failed = read_json(folder, "tokenizer_config.json", CONFIG_BYTES_MAX, false, JSON_DECODE_INT_AS_REAL,
                           &folder->tokenizer_config);
    return failed ? failed : folder_vocab(folder);
}

/* Moves what was made to a gguf. */
static int create(struct folder *folder, struct gguf **gguf)
{
    uint32_t n_maps = folder->weights->n_shards;
    struct map **maps = arena_array(&folder->arena, n_maps, sizeof(struct map *));
    if (!maps) return error_memory(folder->error, n_maps * sizeof(struct map *), "the shards");
    struct gguf_outside outside = {.path = folder->path, .maps = maps, .n_maps = n_maps, .tensors = folder->tensors};
    gguf_header_finish(&folder->header, &outside.header);
    memcpy(maps, safetensors_take_maps(folder->weights), n_maps * sizeof(struct map *));
    outside.arena = folder->arena;
    folder->arena = (struct arena){0};
    return gguf_open_outside(gguf, &outside, folder->error);
}

int folder_open(struct gguf **gguf, const char *path, struct stile_error *error)
{
    struct folder folder = {.path = path, .error = error};
    int failed = load(&folder);
    if (!failed) failed = create(&folder, gguf);
    json_decref(folder.config);
    json_decref(folder.generation);
    json_decref(folder.tokenizer);
    json_decref(folder.tokenizer_config);
    safetensors_close(folder.weights);
    gguf_header_free(&folder.header);
    arena_free(&folder.arena);
    return failed;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool folder_is_model(const char *path)
{
    char config[PATH_BYTES];
    return is_folder(path) && (size_t)snprintf(config, sizeof config, "%s/config.json", path) < sizeof config &&
           access(config, F_OK) == 0;
}

int folder_or_file_open(struct gguf **gguf, const char *path, struct stile_error *error)
{
    return is_folder(path) ? folder_open(gguf, path, error) : gguf_open(gguf, path, error);
}
