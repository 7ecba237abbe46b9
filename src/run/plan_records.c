/* plan_records.c - what was predicted and what came of it: a line of JSON each in the cache folder.
 *
 * Lines are appended with one write, under a lock of the file, so that processes do not mix theirs. A file that has grown
 * too long is replaced by its newer half. What does not make sense in it is skipped.
 */
#include "base/buffer.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 512 << 10, LINE_BYTES_MAX = 4000, REOPENINGS_MAX = 8 };

static const char file_name[] = "plans.jsonl";

/* ---- a line --------------------------------------------------------------------------------- */

static json_t *text_json(const char *text)
{
    json_t *string = json_string(text); /* NULL when it is not UTF-8 */
    return string ? string : json_null();
}

static json_t *outcome_json(const struct stile_outcome *o)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:f, s:f, s:o, s:f, s:o}",
                     "unix_time_s", (json_int_t)o->time, "kind", text_json(o->kind), "model", text_json(o->model),
                     "format", text_json(o->format), "n_ctx", (json_int_t)o->n_ctx, "n_depth", (json_int_t)o->n_depth,
                     "n_tokens", (json_int_t)o->n_tokens, "n_batch", (json_int_t)o->n_batch, "n_threads",
                     (json_int_t)o->n_threads, "memory_limit_bytes", (json_int_t)o->memory_limit_bytes, "streamed",
                     (int)o->streamed, "predicted", o->predicted.value, "low", o->predicted.low, "high",
                     o->predicted.high, "bound_by", text_json(o->predicted.bound_by), "measured", o->measured, "commit",
                     text_json(o->commit));
}

static uint32_t get_count(const json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static double get_number(const json_t *object, const char *name)
{
    double value = json_number_value(json_object_get(object, name));
    return value > 0 && value < 1e18 ? value : 0;
}

static bool read_outcome(const char *line, size_t n, struct stile_outcome *o)
{
    json_t *object = json_loadb(line, n, 0, NULL);
    json_int_t time = json_integer_value(json_object_get(object, "unix_time_s"));
    json_int_t limit = json_integer_value(json_object_get(object, "memory_limit_bytes"));
    *o = (struct stile_outcome){
        .time = time > 0 ? time : 0,
        .n_ctx = get_count(object, "n_ctx"),
        .n_depth = get_count(object, "n_depth"),
        .n_tokens = get_count(object, "n_tokens"),
        .n_batch = get_count(object, "n_batch"),
        .n_threads = get_count(object, "n_threads"),
        .memory_limit_bytes = limit > 0 ? (uint64_t)limit : 0,
        .streamed = json_is_true(json_object_get(object, "streamed")),
        .predicted = {get_number(object, "predicted"), get_number(object, "low"), get_number(object, "high"), ""},
        .measured = get_number(object, "measured"),
    };
    json_get_text(object, "kind", o->kind, sizeof o->kind);
    json_get_text(object, "model", o->model, sizeof o->model);
    json_get_text(object, "format", o->format, sizeof o->format);
    json_get_text(object, "bound_by", o->predicted.bound_by, sizeof o->predicted.bound_by);
    json_get_text(object, "commit", o->commit, sizeof o->commit);
    json_decref(object);
    return o->predicted.value > 0 && o->measured > 0 && *o->kind;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Opens and locks the file that the path leads to now: another process may replace it meanwhile. -1, and errno. */
static int open_locked(const char *path)
{
    for (int i = 0; i < REOPENINGS_MAX; i++) {
        struct stat opened, named;
        int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) return -1;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &opened) == 0 && stat(path, &named) == 0 &&
            opened.st_ino == named.st_ino && opened.st_dev == named.st_dev)
            return fd;
        close(fd);
    }
    return errno = EAGAIN, -1;
}

/* The whole file; NULL, and errno, where it cannot be read, or is too long to be one of ours. */
static char *read_all(int fd, size_t *n)
{
    struct stat status;
    *n = 0;
    if (fstat(fd, &status) != 0) return NULL;
    if (!S_ISREG(status.st_mode)) return errno = EINVAL, NULL;
    if (status.st_size > 4 * FILE_BYTES_MAX) return errno = EFBIG, NULL;
    char *text = malloc((size_t)status.st_size + 1);
    while (text && *n < (size_t)status.st_size) {
        ssize_t got = pread(fd, text + *n, (size_t)status.st_size - *n, (off_t)*n);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) break; /* it became shorter */
        if (got > 0) {
            *n += (size_t)got;
            continue;
        }
        int why = errno;
        free(text);
        return errno = why, NULL;
    }
    return text;
}

/* Puts a file with the newer half of the lines, and one more, in the place of the old. */
static bool replace(const char *path, int fd, const char *line, size_t n_line)
{
    struct buffer kept = {0};
    size_t n = 0;
    char *text = read_all(fd, &n), *half = text ? memchr(text + n / 2, '\n', n - n / 2) : NULL;
    if (half) buffer_add(&kept, half + 1, (size_t)(text + n - (half + 1)));
    buffer_add(&kept, line, n_line);
    buffer_char(&kept, '\0');
    bool ok = !kept.failed && path_replace_file(path, kept.data, NULL) == STILE_OK;
    buffer_free(&kept);
    free(text);
    return ok;
}

static bool append(const char *path, int fd, const char *line, size_t n)
{
    struct stat status;
    char last = '\n';
    if (fstat(fd, &status) != 0) return false;
    if (status.st_size > FILE_BYTES_MAX) return replace(path, fd, line, n);
    /* a line that somebody could not finish does not spoil this one */
    if (status.st_size > 0 && pread(fd, &last, 1, status.st_size - 1) == 1 && last != '\n' && write(fd, "\n", 1) != 1)
        return false;
    return write(fd, line, n) == (ssize_t)n;
}

int stile_outcome_keep(const struct stile_outcome *outcome, struct stile_error *error)
{
    char path[PATH_MAX], folder[PATH_MAX], line[LINE_BYTES_MAX + 2];
    int failed = path_cache(folder, sizeof folder, ".", error);
    if (!failed) failed = path_make_folder(folder, error);
    if (!failed) failed = path_cache(path, sizeof path, file_name, error);
    if (failed) return failed;
    if (!isfinite(outcome->predicted.value) || !isfinite(outcome->measured))
        return error_set(error, STILE_ERROR_ARGUMENT, "an outcome that is no number");
    json_t *object = outcome_json(outcome);
    size_t n = object ? json_dumpb(object, line, LINE_BYTES_MAX, JSON_COMPACT | JSON_REAL_PRECISION(6)) : 0;
    json_decref(object);
    if (n == 0 || n > LINE_BYTES_MAX) return error_memory(error, LINE_BYTES_MAX, "an outcome");
    line[n] = '\n';
    int fd = open_locked(path);
    bool ok = fd >= 0 && append(path, fd, line, n + 1);
    int why = errno;
    if (fd >= 0) close(fd);
    return ok ? 0 : error_set(error, STILE_ERROR_IO, "%s: cannot be written: %s", path, strerror(why));
}

int stile_outcomes(struct stile_outcome **outcomes, size_t *n_outcomes, struct stile_error *error)
{
    char path[PATH_MAX];
    size_t n = 0, n_found = 0, n_lines = 1;
    int failed = path_cache(path, sizeof path, file_name, error);
    if (failed) return failed;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text = fd >= 0 ? read_all(fd, &n) : NULL;
    int why = text ? 0 : errno;
    if (fd >= 0) close(fd);
    if (why && why != ENOENT) return error_set(error, STILE_ERROR_IO, "%s: cannot be read: %s", path, strerror(why));
    for (size_t i = 0; i < n; i++)
        n_lines += text[i] == '\n';
    struct stile_outcome *found = calloc(n_lines, sizeof *found);
    for (size_t at = 0, length; found && at < n; at += length + 1) {
        const char *end = memchr(text + at, '\n', n - at);
        length = end ? (size_t)(end - text) - at : n - at;
        if (length <= LINE_BYTES_MAX && read_outcome(text + at, length, &found[n_found])) n_found++;
    }
    free(text);
    if (!found) return error_memory(error, n_lines * sizeof *found, "the records of plans");
    *outcomes = found;
    *n_outcomes = n_found;
    return 0;
}
