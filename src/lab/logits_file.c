#include "lab/logits_file.h"

#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char magic[16] = "stile logits 1\n";

enum { CODE_MAX = 65535, VOCAB_MAX = 1 << 24, TOKENS_MAX = 1 << 30 };

/* The beginning of the file; the tokens follow, then the rows. All little-endian. */
struct header {
    char magic[16];
    uint32_t n_vocab, n_ctx, step, n_scored;
    int32_t bos;
    uint32_t zero;
    uint64_t n_tokens, n_windows;
    uint64_t vocabulary; /* a hash of all tokens' names */
    char model[LOGITS_NAME_BYTES], text[LOGITS_NAME_BYTES];
};

struct logits_file {
    char *path;
    struct beside out; /* while it is written */
    int fd;            /* of one that is read; else -1 */
    struct header header;
    int32_t *tokens; /* of one that is read */
    size_t n_rows;   /* written */
};

static uint64_t hash_vocabulary(const struct stile_model *model)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (uint32_t i = 0; i < stile_model_info(model)->n_vocab; i++) {
        const char *name = stile_token_name(model, (int32_t)i);
        do
            hash = (hash ^ (uint8_t)(name ? *name : 0)) * 0x100000001b3u;
        while (name && *name++);
    }
    return hash;
}

/* A row: its scale as a float, then the codes, then zeros up to a multiple of four bytes. */
static size_t row_bytes(uint32_t n_vocab)
{
    return sizeof(float) + ((n_vocab + 1u) & ~(size_t)1) * sizeof(uint16_t);
}

static uint64_t rows_at(const struct header *header)
{
    return sizeof *header + header->n_tokens * sizeof(int32_t);
}

static struct windows windows_of(const struct header *header, int32_t *tokens)
{
    return (struct windows){.tokens = tokens,
                            .n_tokens = header->n_tokens,
                            .bos = header->bos,
                            .n_ctx = header->n_ctx,
                            .step = header->step,
                            .n_scored = header->n_scored,
                            .n = header->n_windows};
}

static uint64_t file_bytes(const struct header *header)
{
    struct windows windows = windows_of(header, NULL);
    return rows_at(header) + windows_scored(&windows, windows.n) * row_bytes(header->n_vocab);
}

static struct header header_of(const struct windows *windows, uint32_t n_vocab)
{
    struct header header = {.n_vocab = n_vocab,
                            .n_ctx = windows->n_ctx,
                            .step = windows->step,
                            .n_scored = windows->n_scored,
                            .bos = windows->bos,
                            .n_tokens = windows->n_tokens,
                            .n_windows = windows->n};
    memcpy(header.magic, magic, sizeof magic);
    return header;
}

uint64_t logits_file_size(const struct windows *windows, uint32_t n_vocab)
{
    struct header header = header_of(windows, n_vocab);
    return file_bytes(&header);
}

static int fail_io(const struct logits_file *file, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_IO, "%s: cannot %s: %s", file->path, what, strerror(errno));
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Room on the disk before hours are spent. */
static int check_room(const struct logits_file *file, struct stile_error *error)
{
    struct statvfs disk;
    const uint64_t size_bytes = file_bytes(&file->header);
    if (fstatvfs(file->out.fd, &disk) != 0) return 0;
    const uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (free_bytes >= size_bytes) return 0;
    return error_set(error, STILE_ERROR_IO,
                     "%s: %.1f GB of logits do not fit: %.1f GB are free there (fewer --chunks take less)", file->path,
                     (double)size_bytes * 1e-9, (double)free_bytes * 1e-9);
}

int logits_file_create(struct logits_file **file, const char *path, const struct stile_model *model,
                       const struct windows *windows, const char *text_name, struct stile_error *error)
{
    struct logits_file *f = calloc(1, sizeof *f);
    if (!f) return error_memory(error, sizeof *f, "a file of logits");
    f->fd = f->out.fd = -1;
    f->path = strdup(path);
    int failed = f->path ? beside_open(&f->out, f->path, error) : error_memory(error, strlen(path), "a file of logits");
    if (!failed) {
        f->header = header_of(windows, stile_model_info(model)->n_vocab);
        f->header.vocabulary = hash_vocabulary(model);
        snprintf(f->header.model, sizeof f->header.model, "%s", stile_model_info(model)->path);
        snprintf(f->header.text, sizeof f->header.text, "%s", text_name);
        failed = check_room(f, error);
    }
    if (!failed) failed = beside_write(&f->out, &f->header, sizeof f->header, error);
    if (!failed) failed = beside_write(&f->out, windows->tokens, windows->n_tokens * sizeof *windows->tokens, error);
    if (failed)
        logits_file_close(f);
    else
        *file = f;
    return failed;
}

/* Rows between floats and what stands in the file, a part for each thread. */
struct coding {
    const float *from; /* of what is written */
    float *to;         /* of what is read */
    uint8_t *codes;
    size_t n_rows;
    uint32_t n_vocab;
};

static void encode_row(const float *row, uint32_t n, uint8_t *out)
{
    float max = row[0], min = row[0];
    for (uint32_t i = 1; i < n; i++) {
        max = row[i] > max ? row[i] : max;
        min = row[i] < min ? row[i] : min;
    }
    const float scale = (max - min) / ((float)CODE_MAX * CODE_MAX), inverse = scale > 0 ? 1 / scale : 0;
    memcpy(out, &scale, sizeof scale);
    memset(out + row_bytes(n) - sizeof(uint32_t), 0, sizeof(uint32_t));
    for (uint32_t i = 0; i < n; i++) {
        float code = sqrtf((max - row[i]) * inverse) + 0.5f;
        uint16_t bits = code < CODE_MAX ? (uint16_t)code : CODE_MAX;
        memcpy(out + sizeof scale + i * sizeof bits, &bits, sizeof bits);
    }
}

static void encode_part(void *arg, int i_thread, int n_threads)
{
    const struct coding *coding = arg;
    size_t begin, end;
    threads_split(coding->n_rows, 1, i_thread, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++)
        encode_row(coding->from + i * coding->n_vocab, coding->n_vocab, coding->codes + i * row_bytes(coding->n_vocab));
}

int logits_file_append(struct logits_file *file, struct threads *threads, const float *rows, size_t n_rows,
                       struct stile_error *error)
{
    const size_t size_bytes = n_rows * row_bytes(file->header.n_vocab);
    struct coding coding = {
        .from = rows, .codes = malloc(size_bytes), .n_rows = n_rows, .n_vocab = file->header.n_vocab};
    if (!coding.codes) return error_memory(error, size_bytes, "codes of logits");
    threads_run(threads, encode_part, &coding);
    int failed = beside_write(&file->out, coding.codes, size_bytes, error);
    free(coding.codes);
    file->n_rows += n_rows;
    return failed;
}

int logits_file_finish(struct logits_file *file, struct stile_error *error)
{
    return beside_finish(&file->out, error);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int read_all(const struct logits_file *file, uint64_t at, void *bytes, size_t n, struct stile_error *error)
{
    char *to = bytes;
    while (n > 0) {
        ssize_t got = pread(file->fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_io(file, "read", error);
        if (got == 0) return error_set(error, STILE_ERROR_IO, "%s: it has become shorter", file->path);
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static int bad(const struct logits_file *file, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_MALFORMED, "%s: not a file of logits: %s", file->path, what);
}

static int check_header(const struct logits_file *file, uint64_t size_bytes, struct stile_error *error)
{
    const struct header *h = &file->header;
    if (memcmp(h->magic, magic, sizeof magic) != 0) return bad(file, "it begins with something else", error);
    if (h->n_vocab == 0 || h->n_vocab > VOCAB_MAX) return bad(file, "the size of its vocabulary", error);
    /* as windows_create makes them: overlapping, or one after the other */
    if (h->n_ctx < 4 || h->n_scored == 0 || h->n_scored >= h->n_ctx ||
        (h->step != h->n_scored && (h->step != h->n_ctx || h->n_scored != h->n_ctx - 1 - h->n_ctx / 2)))
        return bad(file, "its windows", error);
    if (h->bos < -1 || (h->bos >= 0 && (uint32_t)h->bos >= h->n_vocab)) return bad(file, "its beginning token", error);
    /* Of the last window something is scored. */
    if (h->n_tokens > TOKENS_MAX || h->n_ctx > h->n_tokens || h->n_windows == 0 || h->n_windows > h->n_tokens ||
        (h->n_windows - 1) * h->step + h->n_ctx - h->n_scored >= h->n_tokens)
        return bad(file, "the number of its windows", error);
    if (size_bytes != file_bytes(h))
        return error_set(error, STILE_ERROR_MALFORMED, "%s: it has %llu bytes, its beginning says %llu", file->path,
                         (unsigned long long)size_bytes, (unsigned long long)file_bytes(h));
    return 0;
}

bool logits_file_is(const char *path)
{
    char begin[sizeof magic] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n = pread(fd, begin, sizeof begin, 0);
    close(fd);
    return n == sizeof begin && memcmp(begin, magic, sizeof magic) == 0;
}

static int read_beginning(struct logits_file *file, struct stile_error *error)
{
    struct stat status;
    struct header *h = &file->header;
    if (fstat(file->fd, &status) != 0) return fail_io(file, "look at it", error);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size < sizeof *h) return bad(file, "it is too short", error);
    int failed = read_all(file, 0, h, sizeof *h, error);
    if (!failed) failed = check_header(file, (uint64_t)status.st_size, error);
    if (failed) return failed;
    h->model[LOGITS_NAME_BYTES - 1] = h->text[LOGITS_NAME_BYTES - 1] = '\0';
    const size_t n_bytes = h->n_tokens * sizeof *file->tokens;
    file->tokens = malloc(n_bytes);
    if (!file->tokens) return error_memory(error, n_bytes, "the tokens of a file of logits");
    failed = read_all(file, sizeof *h, file->tokens, n_bytes, error);
    for (uint64_t i = 0; i < h->n_tokens && !failed; i++)
        if (file->tokens[i] < 0 || (uint32_t)file->tokens[i] >= h->n_vocab)
            failed = bad(file, "one of its tokens is not in its vocabulary", error);
    return failed;
}

int logits_file_open(struct logits_file **file, const char *path, struct stile_error *error)
{
    struct logits_file *f = calloc(1, sizeof *f);
    if (!f) return error_memory(error, sizeof *f, "a file of logits");
    f->out.fd = -1;
    f->path = strdup(path);
    f->fd = f->path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int failed = !f->path    ? error_memory(error, strlen(path), "a file of logits")
                 : f->fd < 0 ? fail_io(f, "open", error)
                             : read_beginning(f, error);
    if (failed)
        logits_file_close(f);
    else
        *file = f;
    return failed;
}

int logits_file_check(const struct logits_file *file, const struct stile_model *model, struct stile_error *error)
{
    const struct stile_model_info *info = stile_model_info(model);
    if (info->n_vocab == file->header.n_vocab && hash_vocabulary(model) == file->header.vocabulary) return 0;
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "%s has another vocabulary than the model whose logits are in %s: they cannot be compared",
                     info->path, file->path);
}

int logits_file_windows(const struct logits_file *file, size_t n_max, struct windows *windows,
                        struct stile_error *error)
{
    const size_t n_bytes = file->header.n_tokens * sizeof *file->tokens;
    int32_t *tokens = malloc(n_bytes);
    if (!tokens) return error_memory(error, n_bytes, "the tokens of a text");
    memcpy(tokens, file->tokens, n_bytes);
    *windows = windows_of(&file->header, tokens);
    if (n_max > 0 && windows->n > n_max) windows->n = n_max;
    return 0;
}

const char *logits_file_model(const struct logits_file *file)
{
    return file->header.model;
}

const char *logits_file_text(const struct logits_file *file)
{
    return file->header.text;
}

static void decode_row(const uint8_t *in, uint32_t n, float *row)
{
    float scale;
    memcpy(&scale, in, sizeof scale);
    for (uint32_t i = 0; i < n; i++) {
        uint16_t code;
        memcpy(&code, in + sizeof scale + i * sizeof code, sizeof code);
        row[i] = -((float)code * (float)code) * scale;
    }
}

static void decode_part(void *arg, int i_thread, int n_threads)
{
    const struct coding *coding = arg;
    size_t begin, end;
    threads_split(coding->n_rows, 1, i_thread, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++)
        decode_row(coding->codes + i * row_bytes(coding->n_vocab), coding->n_vocab, coding->to + i * coding->n_vocab);
}

int logits_file_read(const struct logits_file *file, struct threads *threads, size_t first, size_t n_rows, float *rows,
                     struct stile_error *error)
{
    const size_t one = row_bytes(file->header.n_vocab), size_bytes = n_rows * one;
    struct coding coding = {.to = rows, .codes = malloc(size_bytes), .n_rows = n_rows, .n_vocab = file->header.n_vocab};
    if (!coding.codes) return error_memory(error, size_bytes, "codes of logits");
    int failed = read_all(file, rows_at(&file->header) + first * one, coding.codes, size_bytes, error);
    if (!failed) threads_run(threads, decode_part, &coding);
    free(coding.codes);
    return failed;
}

void logits_file_close(struct logits_file *file)
{
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    beside_abandon(&file->out);
    free(file->path);
    free(file->tokens);
    free(file);
}
