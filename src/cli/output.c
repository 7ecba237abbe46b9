/* output.c - errors, safe text, JSON. */
#include "cli/output.h"
#include "base/buffer.h"
#include "base/terminal.h"
#include "cli/options.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static void print_error(const char *message)
{
    bool colour = terminal_colour(STDERR_FILENO);
    fflush(stdout);
    fprintf(stderr, "%sstile:%s ", colour ? "\033[31m" : "", colour ? "\033[0m" : "");
    text_line(stderr, message);
    fputc('\n', stderr);
}

static void print_errorv(const char *format, va_list arguments)
{
    char message[1200];
    vsnprintf(message, sizeof message, format, arguments);
    print_error(message);
}

int cli_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_errorv(format, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

int cli_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_errorv(format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

int cli_error(const struct stile_error *error)
{
    if (error->code == STILE_ERROR_CANCELLED) return EXIT_INTERRUPTED;
    print_error(error->message);
    return EXIT_FAILED;
}

/* Length of the UTF-8 character at text and whether it is a control character (C0, DEL, and C1, which terminals obey as
 * well); 0 if the bytes there are no character. */
static size_t character(const unsigned char *text, size_t n, bool *control)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t length = utf8proc_iterate(text, (utf8proc_ssize_t)n, &code);
    if (length <= 0) return 0;
    *control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    return (size_t)length;
}

void text_write(FILE *stream, const char *text, size_t n_bytes, bool safe)
{
    if (!safe) {
        fwrite(text, 1, n_bytes, stream);
        return;
    }
    const unsigned char *at = (const unsigned char *)text;
    bool control = false;
    for (size_t i = 0, length; i < n_bytes; i += length ? length : 1) {
        length = character(at + i, n_bytes - i, &control);
        if (length && (!control || at[i] == '\n' || at[i] == '\t'))
            fwrite(at + i, 1, length, stream);
        else
            fputs(replacement, stream);
    }
}

void text_line(FILE *stream, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    bool control = false;
    size_t n = strlen(text);
    for (size_t i = 0, length; i < n; i += length ? length : 1) {
        length = character(at + i, n - i, &control);
        if (length && !control)
            fwrite(at + i, 1, length, stream);
        else
            fputc('?', stream);
    }
}

void text_quoted(FILE *stream, const char *text, size_t n_bytes)
{
    static const char from[] = "\"\\\n\t\r", to[] = "\"\\ntr";
    const unsigned char *at = (const unsigned char *)text;
    bool control = false;
    fputc('"', stream);
    for (size_t i = 0, length; i < n_bytes; i += length ? length : 1) {
        length = character(at + i, n_bytes - i, &control);
        const char *escape = at[i] ? strchr(from, at[i]) : NULL;
        if (escape)
            fprintf(stream, "\\%c", to[escape - from]);
        else if (length && !control)
            fwrite(at + i, 1, length, stream);
        else
            fprintf(stream, "\\x%02x", at[i]), length = 1;
    }
    fputc('"', stream);
}

json_t *json_text(const char *text, size_t n_bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    bool control = false;
    struct buffer clean = {0};
    for (size_t i = 0, length; i < n_bytes; i += length ? length : 1) {
        length = character(at + i, n_bytes - i, &control);
        if (length && at[i])
            buffer_add(&clean, at + i, length);
        else
            buffer_string(&clean, replacement);
    }
    json_t *string = clean.failed ? NULL : json_stringn(clean.data ? clean.data : "", clean.n);
    buffer_free(&clean);
    return string;
}

json_t *memory_json(const struct stile_memory *memory)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "weights_bytes", (json_int_t)memory->weights_bytes, "kv_bytes",
                     (json_int_t)memory->kv_bytes, "activations_bytes", (json_int_t)memory->activations_bytes,
                     "other_bytes", (json_int_t)memory->other_bytes, "draft_bytes", (json_int_t)memory->draft_bytes);
}

void json_show(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(object);
}

const char *size_text(char out[32], uint64_t size_bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double size = (double)size_bytes;
    size_t unit = 0;
    while (size >= 1024 && unit + 1 < sizeof units / sizeof *units)
        size /= 1024, unit++;
    if (size_bytes == 1) return "1 byte";
    snprintf(out, 32, unit == 0 || size >= 100 ? "%.0f %s" : size >= 10 ? "%.1f %s" : "%.2f %s", size, units[unit]);
    return out;
}
