/* tokenize.c - `stile tokenize`: the tokens of a text. */
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/output.h"

#include <string.h>
#include <unistd.h>

static int find_text(const struct options *options, struct buffer *text)
{
    if (options->arguments[1] && options->file) return cli_usage("tokenize: TEXT and -f are two texts: give one");
    if (options->arguments[1]) {
        buffer_string(text, options->arguments[1]);
        return EXIT_OK;
    }
    if (!options->file && isatty(STDIN_FILENO)) return cli_usage("tokenize: no text: give TEXT, -f FILE or a pipe");
    return input_read(options->file ? options->file : "-", text);
}

static void show(const struct stile_model *model, const int32_t *tokens, size_t n_tokens, bool only_ids)
{
    for (size_t i = 0; i < n_tokens; i++) {
        if (only_ids) {
            printf("%s%d", i ? " " : "", tokens[i]);
            continue;
        }
        size_t n_bytes;
        const char *bytes = stile_token_bytes(model, tokens[i], true, &n_bytes);
        printf("%7d  ", tokens[i]);
        text_quoted(stdout, bytes ? bytes : "", n_bytes);
        putchar('\n');
    }
    if (only_ids) putchar('\n');
}

int command_tokenize(const struct options *options)
{
    struct buffer text = {0};
    struct stile_model *model = NULL;
    struct stile_error error;
    int32_t *tokens = NULL;
    size_t n_tokens;
    int status = find_text(options, &text);
    if (status == EXIT_OK) {
        if (stile_model_open(&model, options->arguments[0], &error) != STILE_OK ||
            stile_tokenize(model, text.data ? text.data : "", text.n, STILE_ADD_SPECIAL | STILE_PARSE_SPECIAL, &tokens,
                           &n_tokens, &error) != STILE_OK)
            status = cli_error(&error);
        else
            show(model, tokens, n_tokens, options->ids);
    }
    stile_free(tokens);
    stile_model_close(model);
    buffer_free(&text);
    return status;
}
