#include "base/bytes.h"
#include "file/gguf_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is known is doubled, but a source is slow: not by more than the step. */
enum { FIRST_READ_BYTES = 256 << 10, SOURCE_STEP_BYTES = 2 << 20 };

int gguf_fail(const struct gguf_reader *reader, uint64_t at, int code, struct stile_error *error, const char *format,
              ...)
{
    char item[160] = "", message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (reader->item && reader->item_name)
        snprintf(item, sizeof item, "%s '%.100s': ", reader->item, reader->item_name);
    else if (reader->item)
        snprintf(item, sizeof item, "%s %" PRIu64 ": ", reader->item, reader->item_i);
    return error_set(error, code, "%s: offset %" PRIu64 ": %s%s%s", reader->path, at, item, message,
                     code == STILE_ERROR_MALFORMED ? " (damaged or truncated file: download it again)" : "");
}

static int read_file(const struct gguf_reader *reader, uint64_t at, uint64_t n, uint8_t *bytes,
                     struct stile_error *error)
{
    if (reader->source) return reader->source->read(reader->source->user, at, n, bytes, error);
    for (uint64_t end = at + n; at < end;) {
        ssize_t got = pread(reader->fd, bytes, end - at, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return error_set(error, STILE_ERROR_IO, "%s: offset %" PRIu64 ": cannot read: %s", reader->path, at,
                             strerror(errno));
        if (got == 0)
            return error_set(error, STILE_ERROR_IO, "%s: offset %" PRIu64 ": the file became shorter while it was read",
                             reader->path, at);
        bytes += got;
        at += (uint64_t)got;
    }
    return 0;
}

/* Up to where to read when all before `end` is needed. */
static uint64_t read_end(const struct gguf_reader *reader, uint64_t end)
{
    uint64_t want = 2 * reader->n_bytes;
    if (reader->source && want > reader->n_bytes + SOURCE_STEP_BYTES) want = reader->n_bytes + SOURCE_STEP_BYTES;
    if (want < FIRST_READ_BYTES) want = FIRST_READ_BYTES;
    if (want < end) want = end;
    return want < reader->size_bytes ? want : reader->size_bytes;
}

/* Reads the file up to `end` or further. */
static int load(struct gguf_reader *reader, uint64_t end, struct stile_error *error)
{
    if (end > GGUF_METADATA_BYTES_MAX)
        return gguf_fail(reader, reader->at, STILE_ERROR_UNSUPPORTED, error,
                         "metadata goes on for more than %d bytes, the limit of this program", GGUF_METADATA_BYTES_MAX);
    uint64_t want = read_end(reader, end);
    uint8_t *bytes = realloc(reader->owned, want);
    if (!bytes) return error_memory(error, want, "metadata");
    reader->owned = bytes;
    reader->bytes = bytes;
    int code = read_file(reader, reader->n_bytes, want - reader->n_bytes, bytes + reader->n_bytes, error);
    if (code == 0) reader->n_bytes = want;
    return code;
}

int gguf_reader_need(struct gguf_reader *reader, uint64_t n, const char *what, struct stile_error *error)
{
    uint64_t left = reader->size_bytes - reader->at;
    if (n > left)
        return gguf_fail(reader, reader->at, STILE_ERROR_MALFORMED, error,
                         "%s needs %" PRIu64 " bytes, the file ends after %" PRIu64, what, n, left);
    return reader->at + n > reader->n_bytes ? load(reader, reader->at + n, error) : 0;
}

int gguf_reader_u32(struct gguf_reader *reader, const char *what, uint32_t *value, struct stile_error *error)
{
    int code = gguf_reader_need(reader, sizeof *value, what, error);
    if (code != 0) return code;
    *value = load_u32(reader->bytes + reader->at);
    reader->at += sizeof *value;
    return 0;
}

int gguf_reader_u64(struct gguf_reader *reader, const char *what, uint64_t *value, struct stile_error *error)
{
    int code = gguf_reader_need(reader, sizeof *value, what, error);
    if (code != 0) return code;
    *value = load_u64(reader->bytes + reader->at);
    reader->at += sizeof *value;
    return 0;
}

int gguf_reader_count(struct gguf_reader *reader, const char *what, uint64_t bytes_min, uint64_t max, uint64_t *value,
                      struct stile_error *error)
{
    uint64_t at = reader->at, n;
    int code = gguf_reader_u64(reader, what, &n, error);
    if (code != 0) return code;
    if (n > (reader->size_bytes - reader->at) / bytes_min)
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "%s %" PRIu64 " needs more bytes than the file has",
                         what, n);
    if (n > max)
        return gguf_fail(reader, at, STILE_ERROR_UNSUPPORTED, error, "%s %" PRIu64 " is over the limit of %" PRIu64,
                         what, n, max);
    *value = n;
    return 0;
}

int gguf_reader_name(struct gguf_reader *reader, const char *what, uint64_t max, struct arena *arena, const char **name,
                     struct stile_error *error)
{
    uint64_t at = reader->at, n;
    int code = gguf_reader_u64(reader, what, &n, error);
    if (code != 0) return code;
    if (n == 0) return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "%s is empty", what);
    if (n > max)
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error,
                         "%s of %" PRIu64 " bytes is longer than the %" PRIu64 " that the format allows", what, n, max);
    code = gguf_reader_need(reader, n, what, error);
    if (code != 0) return code;
    const char *bytes = (const char *)reader->bytes + reader->at;
    if (memchr(bytes, '\0', n)) return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "%s holds a NUL", what);
    *name = arena_string(arena, bytes, n);
    if (!*name) return error_memory(error, n, what);
    reader->at += n;
    return 0;
}

int gguf_reader_skip_strings(struct gguf_reader *reader, uint64_t n, struct stile_error *error)
{
    for (uint64_t i = 0; i < n; i++) {
        /* the short way, for vocabularies: length and bytes were both read already */
        if (reader->n_bytes - reader->at >= 8) {
            uint64_t length = load_u64(reader->bytes + reader->at);
            if (length <= reader->n_bytes - reader->at - 8) {
                reader->at += 8 + length;
                continue;
            }
        }
        uint64_t length;
        int code = gguf_reader_count(reader, "string length", 1, GGUF_STRING_BYTES_MAX, &length, error);
        if (code == 0) code = gguf_reader_need(reader, length, "string", error);
        if (code != 0) return code;
        reader->at += length;
    }
    return 0;
}

void gguf_reader_trim(struct gguf_reader *reader)
{
    if (!reader->owned || reader->at == 0) return;
    uint8_t *bytes = realloc(reader->owned, reader->at);
    if (bytes) reader->owned = bytes;
    reader->bytes = reader->owned;
    reader->n_bytes = reader->at;
}

int gguf_grow(void **items, size_t item_bytes, uint64_t **offsets, size_t n, size_t *capacity, size_t n_max,
              struct stile_error *error)
{
    if (n < *capacity) return 0;
    size_t want = *capacity < 64 ? 64 : 2 * *capacity;
    if (want > n_max) want = n_max;
    void *grown = realloc(*items, want * item_bytes);
    if (!grown) return error_memory(error, want * item_bytes, "a table of the file");
    *items = grown;
    uint64_t *grown_offsets = realloc(*offsets, want * sizeof **offsets);
    if (!grown_offsets) return error_memory(error, want * sizeof **offsets, "a table of the file");
    *offsets = grown_offsets;
    *capacity = want;
    return 0;
}
