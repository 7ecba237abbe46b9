/* Hostile files: each gives an error that names file, place and field, at once, and nothing breaks. */
#include "base/clock.h"
#include "file/gguf_private.h"
#include "gguf_write.h"
#include "hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile_test_hostile_XXXXXX";

static void path_in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
}

static void write_file(const char *path, const struct buffer *bytes)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes->data, 1, bytes->n, out), bytes->n);
    assert_int_equal(fclose(out), 0);
}

static void remove_set(const struct hostile_set *set)
{
    char path[256];
    for (size_t i = 0; i < set->n_files; i++) {
        path_in_folder(path, set->files[i].name);
        unlink(path);
    }
}

/* What every error message must be like. */
static void check_message(const struct hostile_set *set, const char *message)
{
    if (strncmp(message, folder, strlen(folder)) != 0) fail_msg("%s: '%s' names no file", set->name, message);
    message += strlen(folder);
    if (set->n_files == 1) { /* what is expected must not be found in the file's name */
        if (!strstr(message, set->files[0].name)) fail_msg("%s: '%s' names another file", set->name, message);
        message += 1 + strlen(set->files[0].name);
    }
    if (!strstr(message, set->expected)) fail_msg("%s: '%s' lacks '%s'", set->name, message, set->expected);
    if (!strstr(message, "offset ") && !strstr(message, "split.") && !strstr(message, "the file is empty") &&
        !strstr(message, "cannot open"))
        fail_msg("%s: '%s' names no place", set->name, message);
    if (strchr(message, '\n')) fail_msg("%s: more than one line", set->name);
}

/* The files of a set as a source, which checks what it is asked for. */
struct set_source {
    const struct hostile_set *set;
    const struct buffer *bytes; /* of the file that is open */
};

static int open_set_file(void *user, const char *path, uint64_t *size_bytes, struct stile_error *error)
{
    struct set_source *source = user;
    const struct hostile_set *set = source->set;
    for (size_t i = 0; i < set->n_files; i++) {
        if (strcmp(strrchr(path, '/') + 1, set->files[i].name) != 0) continue;
        source->bytes = &set->files[i].bytes;
        *size_bytes = source->bytes->n;
        return source->bytes->n > 0 ? 0 : error_set(error, STILE_ERROR_MALFORMED, "%s: the file is empty", path);
    }
    return error_set(error, STILE_ERROR_IO, "%s: cannot open", path);
}

static int read_set_file(void *user, uint64_t at, uint64_t n, uint8_t *bytes, struct stile_error *error)
{
    const struct buffer *file = ((struct set_source *)user)->bytes;
    (void)error;
    assert_true(n > 0 && at <= file->n && n <= file->n - at);
    memcpy(bytes, file->data + at, n);
    return 0;
}

/* A source says the same of a file as the disk. */
static void check_source(const struct hostile_set *set, const char *path, int code, const char *message)
{
    struct set_source files = {.set = set};
    struct gguf_source source = {.user = &files, .open = open_set_file, .read = read_set_file};
    struct stile_error error = {0};
    struct gguf *gguf = NULL;
    int is = gguf_open_source(&gguf, path, &source, &error);
    if (is != code) fail_msg("%s: %d from a source, %d from files", set->name, is, code);
    if (code != 0 && !strstr(message, "cannot open") && !strstr(message, "is empty"))
        assert_string_equal(error.message, message);
    for (size_t i = 0; code == 0 && i < gguf->n_tensors; i++)
        assert_null(gguf->tensors[i].data);
    gguf_close(gguf);
}

static void corpus(void **state)
{
    size_t n[4] = {0};
    const char *names[1000];
    (void)state;
    for (size_t i = 0; i < hostile_count(); i++) {
        struct hostile_set set;
        struct stile_error error = {0};
        struct gguf *gguf = NULL;
        char path[4096];
        hostile_build(i, &set);
        names[i] = set.name;
        for (size_t j = 0; j < i; j++) /* they would replace each other in make_hostile's folder */
            if (strcmp(names[j], set.name) == 0) fail_msg("two cases are called %s", set.name);
        hostile_write(&set, folder, path, sizeof path);
        uint64_t begin = clock_ns();
        int code = gguf_open(&gguf, path, &error);
        uint64_t took_ns = clock_ns() - begin;
        if (took_ns > 1000000000u) fail_msg("%s: took %.1f s", set.name, (double)took_ns / 1e9);
        if (set.level == HOSTILE_GGUF) {
            if (code == 0) fail_msg("%s: was accepted", set.name);
            assert_null(gguf);
            assert_int_equal(code, error.code);
            check_message(&set, error.message);
        } else if (code != 0) {
            fail_msg("%s: refused: %s", set.name, error.message);
        }
        check_source(&set, path, code, error.message);
        gguf_close(gguf);
        n[set.level]++;
        remove_set(&set);
        hostile_free(&set);
    }
    printf("corpus: %zu for the reader, %zu for the model, %zu for the chat template, %zu valid\n", n[HOSTILE_GGUF],
           n[HOSTILE_MODEL], n[HOSTILE_CHAT], n[HOSTILE_VALID]);
    assert_true(n[HOSTILE_GGUF] >= 60);
}

/* Each single file once more from memory that ends where the file ends, for the address sanitizer to watch. */
static void corpus_from_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < hostile_count(); i++) {
        struct hostile_set set;
        struct stile_error error = {0};
        hostile_build(i, &set);
        const struct buffer *bytes = &set.files[0].bytes;
        uint8_t *copy = malloc(bytes->n + (bytes->n == 0));
        memcpy(copy, bytes->data, bytes->n);
        int code = gguf_check_bytes(copy, bytes->n, &error);
        if (set.n_files == 1 && (code != 0) != (set.level == HOSTILE_GGUF)) fail_msg("%s: code %d", set.name, code);
        free(copy);
        hostile_free(&set);
    }
}

/* ---- exhaustive damage ------------------------------------------------------------------------- */

static int check_copy(const char *bytes, size_t n)
{
    uint8_t *copy = malloc(n + (n == 0));
    memcpy(copy, bytes, n);
    int code = gguf_check_bytes(copy, n, NULL);
    free(copy);
    return code;
}

static void every_prefix(void **state)
{
    static const char *const names[] = {"right-every-type", "right-set", "right-last-padding-missing",
                                        "right-unordered"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct hostile_set set;
        hostile_build_named(names[i], &set);
        const struct buffer *bytes = &set.files[0].bytes;
        for (size_t n = 0; n < bytes->n; n++)
            if (check_copy(bytes->data, n) >= 0) fail_msg("%s: accepted after %zu of %zu bytes", names[i], n, bytes->n);
        assert_int_equal(check_copy(bytes->data, bytes->n), 0);
        hostile_free(&set);
    }
}

/* Every byte takes several other values; whatever the reader says, nothing may break. */
static void every_byte(void **state)
{
    static const char *const names[] = {"right-every-type", "right-set", "right-every-format"};
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f};
    size_t n_tried = 0, n_refused = 0;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct hostile_set set;
        hostile_build_named(names[i], &set);
        struct buffer *bytes = &set.files[0].bytes;
        size_t n = bytes->n < 4096 ? bytes->n : 4096;
        for (size_t at = 0; at < n; at++) {
            char was = bytes->data[at];
            for (size_t m = 0; m < sizeof masks; m++) {
                bytes->data[at] = (char)(was ^ (char)masks[m]);
                n_refused += check_copy(bytes->data, bytes->n) < 0;
                n_tried++;
            }
            bytes->data[at] = was;
        }
        hostile_free(&set);
    }
    printf("every byte: %zu of %zu changed files refused\n", n_refused, n_tried);
    assert_true(n_refused > n_tried / 3 && n_refused < n_tried);
}

/* ---- time and memory --------------------------------------------------------------------------- */

enum { LARGE_BYTES = 500 * 1000 * 1000 };

/* Of this process: other programs on the machine do not count. */
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t resident_peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss;
}

/* A file of LARGE_BYTES that begins with `bytes` and goes on with zeros: opens it, wants an error within a second. */
static void large_file(const char *name, const struct buffer *bytes, const char *expected)
{
    char path[256];
    struct gguf *gguf = NULL;
    struct stile_error error = {0};
    path_in_folder(path, "large.gguf");
    write_file(path, bytes);
    assert_int_equal(truncate(path, LARGE_BYTES), 0);
    size_t before_kib = resident_peak_kib();
    double begin_s = cpu_s();
    assert_true(gguf_open(&gguf, path, &error) < 0);
    double took_s = cpu_s() - begin_s;
    size_t more_mib = (resident_peak_kib() - before_kib) / 1024;
    printf("%s: %.0f ms, %zu MiB more at peak: %s\n", name, took_s * 1e3, more_mib, error.message);
    assert_true(more_mib < LARGE_BYTES >> 20);
    assert_non_null(strstr(error.message, expected));
    assert_true(took_s < 1);
    unlink(path);
}

static void lying_counts(void **state)
{
    struct buffer bytes = {0};
    struct gguf_write file;
    (void)state;
    gguf_write_init(&file);
    gguf_write_finish(&file, &bytes);
    gguf_patch_u64(&bytes, 16, LARGE_BYTES / 13 - 10);
    large_file("as many keys as fit", &bytes, "over the limit");
    gguf_patch_u64(&bytes, 16, 60000);
    large_file("many keys", &bytes, "key is empty");
    gguf_patch_u64(&bytes, 16, 0);
    gguf_patch_u64(&bytes, 8, LARGE_BYTES / 24 - 10);
    large_file("as many tensors as fit", &bytes, "over the limit");
    gguf_patch_u64(&bytes, 8, 200000);
    large_file("many tensors", &bytes, "tensor name is empty");
    buffer_free(&bytes);

    static const struct {
        const char *name;
        uint32_t element;
        uint64_t n;
    } arrays[] = {{"bytes", GGUF_U8, 499000000}, {"doubles", GGUF_F64, 62000000}, {"strings", GGUF_STRING, 62000000}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        gguf_write_array(&file, "array", arrays[i].element, arrays[i].n);
        gguf_write_finish(&file, &bytes);
        large_file(arrays[i].name, &bytes, "metadata goes on for more than");
        buffer_free(&bytes);
    }
    gguf_put_u64(&gguf_write_key(&file, "array", GGUF_STRING)->value, 499000000);
    gguf_write_finish(&file, &bytes);
    large_file("one string", &bytes, "metadata goes on for more than");
    buffer_free(&bytes);
    gguf_write_free(&file);
}

/* As many tensors and keys as are allowed, in the order that is worst for a naive search. */
static void many_names(void **state)
{
    struct buffer bytes = {0};
    struct stile_error error = {0};
    char name[64];
    (void)state;
    buffer_string(&bytes, "GGUF");
    gguf_put_u32(&bytes, 3);
    gguf_put_u64(&bytes, GGUF_TENSORS_MAX);
    gguf_put_u64(&bytes, GGUF_KV_MAX);
    for (int i = 0; i < GGUF_KV_MAX; i++) {
        int n = snprintf(name, sizeof name, "%055d", GGUF_KV_MAX - i);
        gguf_put_string(&bytes, name, (size_t)n);
        gguf_put_u32(&bytes, GGUF_U8);
        buffer_char(&bytes, 0);
    }
    for (int i = 0; i < GGUF_TENSORS_MAX; i++) {
        int n = snprintf(name, sizeof name, "%055d", GGUF_TENSORS_MAX - i);
        gguf_put_string(&bytes, name, (size_t)n);
        gguf_put_u32(&bytes, 1);
        gguf_put_u64(&bytes, 1);
        gguf_put_u32(&bytes, FORMAT_I8);
        gguf_put_u64(&bytes, (uint64_t)(GGUF_TENSORS_MAX - 1 - i) * 32);
    }
    size_t data_at = (bytes.n + 31) / 32 * 32;
    while (bytes.n < data_at + (size_t)GGUF_TENSORS_MAX * 32)
        buffer_add(&bytes, "................................", 32);
    double begin_s = cpu_s();
    int code = gguf_check_bytes((const uint8_t *)bytes.data, bytes.n, &error);
    double took_s = cpu_s() - begin_s;
    printf("%d tensors, %d keys: %.0f ms\n", GGUF_TENSORS_MAX, GGUF_KV_MAX, took_s * 1e3);
    if (code != 0) fail_msg("%s", error.message);
    assert_true(took_s < 2);
    gguf_patch_u64(&bytes, 8, GGUF_TENSORS_MAX + 1);
    assert_int_equal(gguf_check_bytes((const uint8_t *)bytes.data, bytes.n, &error), STILE_ERROR_UNSUPPORTED);
    buffer_free(&bytes);
}

static int create_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus),     cmocka_unit_test(corpus_from_memory), cmocka_unit_test(every_prefix),
        cmocka_unit_test(every_byte), cmocka_unit_test(lying_counts),       cmocka_unit_test(many_names),
    };
    return cmocka_run_group_tests(tests, create_folder, remove_folder);
}
