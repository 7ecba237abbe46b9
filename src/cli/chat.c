/* chat.c - the conversation at a terminal: a line editor, a few /commands, and replies that Ctrl-C stops.
 *
 * The whole conversation is rendered anew for each turn; the session evaluates only what differs from its context.
 */
#include "cli/chat.h"
#include "base/paths.h"
#include "base/terminal.h"
#include "cli/interrupt.h"

#include <errno.h>
#include <histedit.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

const struct chat_command chat_commands[] = {
    {"/help", "this list"},
    {"/clear", "forget the conversation (the system message stays)"},
    {"/stats", "what the last reply cost, and how full the context is"},
    {"/save FILE", "write the conversation to FILE as JSON"},
    {"\\", "at the end of a line: the message goes on in the next one"},
    {"Ctrl-C", "stop the reply; at the prompt: drop the line, a second time leave"},
    {"Ctrl-D", "leave"},
    {NULL, NULL},
};

enum { HISTORY_LINES = 1000 };

struct chat {
    struct engine *engine;
    const struct options *options;
    json_t *conversation;
    EditLine *editor;
    History *history;
    char history_path[PATH_MAX]; /* "": nowhere */
    bool continued;              /* the next line belongs to the last */
};

static const char *prompt(EditLine *editor)
{
    struct chat *chat;
    el_get(editor, EL_CLIENTDATA, &chat);
    /* \1 stands round what takes no room on the screen */
    if (terminal_colour(STDOUT_FILENO))
        return chat->continued ? "\1\033[1m\1. \1\033[0m\1" : "\1\033[1m\1> \1\033[0m\1";
    return chat->continued ? ". " : "> ";
}

/* Waits for a byte: 1, 0 at the end of input, -1 after Ctrl-C, also one that came just before the wait began. */
static int read_byte(char *byte)
{
    sigset_t interrupt, before;
    int ready = 0;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    while (!interrupt_seen()) {
        fd_set input;
        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
        ready = pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &before);
        if (ready >= 0 || errno != EINTR) break; /* EINTR: Ctrl-C, a resized window, a return from Ctrl-Z */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (interrupt_seen() || ready < 0) return -1;
    return (int)read(STDIN_FILENO, byte, 1);
}

/* One character for the editor, whose own reader would wait on after Ctrl-C. */
static int read_character(EditLine *editor, wchar_t *character)
{
    char bytes[MB_LEN_MAX];
    size_t n = 0;
    (void)editor;
    for (;;) {
        int got = read_byte(bytes + n);
        if (got <= 0) return got;
        mbstate_t state = {0};
        size_t length = mbrtowc(character, bytes, ++n, &state);
        if (length == (size_t)-2 && n < sizeof bytes) continue;
        if (length == (size_t)-1 || length == (size_t)-2) {
            n = 0; /* no character: skip what was read */
            continue;
        }
        return 1;
    }
}

static int editor_open(struct chat *chat)
{
    HistEvent event;
    struct stile_error error;
    chat->editor = el_init("stile", stdin, stdout, stderr);
    chat->history = history_init();
    if (!chat->editor || !chat->history) return cli_fail("this terminal has no line editing: give -p TEXT or a pipe");
    el_set(chat->editor, EL_CLIENTDATA, chat);
    el_set(chat->editor, EL_PROMPT_ESC, prompt, '\1');
    el_set(chat->editor, EL_EDITOR, "emacs");
    el_set(chat->editor, EL_SIGNAL, 1);
    el_set(chat->editor, EL_GETCFN, read_character);
    el_set(chat->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    history(chat->history, &event, H_SETSIZE, HISTORY_LINES);
    history(chat->history, &event, H_SETUNIQUE, 1);
    el_set(chat->editor, EL_HIST, history, chat->history);
    el_source(chat->editor, NULL); /* the user's ~/.editrc */
    if (path_cache(chat->history_path, sizeof chat->history_path, "history", &error) == STILE_OK)
        history(chat->history, &event, H_LOAD, chat->history_path);
    return EXIT_OK;
}

static void editor_close(struct chat *chat)
{
    HistEvent event;
    char folder[PATH_MAX];
    if (chat->history && path_cache(folder, sizeof folder, "", NULL) == STILE_OK &&
        path_make_folder(folder, NULL) == STILE_OK) {
        mode_t old = umask(077); /* what was typed is nobody else's business */
        history(chat->history, &event, H_SAVE, chat->history_path);
        umask(old);
    }
    if (chat->history) history_end(chat->history);
    if (chat->editor) el_end(chat->editor);
}

/* Reads a message, one line or several that end with a backslash. Returns false at the end: Ctrl-D, or Ctrl-C twice. */
static bool read_message(struct chat *chat, struct buffer *message)
{
    HistEvent event;
    bool warned = false;
    buffer_free(message);
    chat->continued = false;
    for (;;) {
        int n = 0;
        const char *line = el_gets(chat->editor, &n);
        if (!line || n <= 0) {
            putchar('\n');
            if (!interrupt_seen() || warned) return false;
            interrupt_clear();
            printf("(Ctrl-C again or Ctrl-D leaves)\n");
            warned = true;
            chat->continued = false;
            buffer_free(message);
            continue;
        }
        warned = false;
        size_t length = (size_t)n;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            length--;
        if (length > 0) history(chat->history, &event, H_ENTER, line);
        chat->continued = length > 0 && line[length - 1] == '\\';
        buffer_add(message, line, chat->continued ? length - 1 : length);
        if (!chat->continued) return true;
        buffer_char(message, '\n');
    }
}

/* Writes beside and renames, so a full disk leaves the old file. */
static void save(struct chat *chat, const char *path)
{
    char beside[PATH_MAX];
    if (!*path) {
        cli_usage("/save needs the name of a file");
        return;
    }
    if (snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid()) >= (int)sizeof beside) {
        cli_fail("%s: this name is too long", path);
        return;
    }
    const json_t *messages = json_object_get(chat->conversation, "messages");
    FILE *file = fopen(beside, "w");
    bool written = file && json_dumpf(messages, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF &&
                   fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file && fclose(file) != 0) written = false;
    if (written && rename(beside, path) == 0) {
        printf("%zu messages in %s\n", json_array_size(messages), path);
        return;
    }
    cli_fail("%s: cannot write: %s", path, strerror(errno));
    unlink(beside);
}

static void clear(struct chat *chat)
{
    json_t *conversation = conversation_create(chat->options->system);
    if (!conversation) {
        cli_fail("out of memory");
        return;
    }
    json_decref(chat->conversation);
    chat->conversation = conversation;
    stile_rewind(chat->engine->session, 0, NULL);
    stile_sampler_reset(chat->engine->sampler);
    printf("(a new conversation)\n");
}

static void show_stats(struct chat *chat)
{
    if (chat->engine->result.n_prompt_tokens > 0) stats_line(chat->engine);
    printf("context: %u of %u tokens used\n", stile_context_used(chat->engine->session),
           stile_context_size(chat->engine->session));
}

static void show_help(void)
{
    for (const struct chat_command *command = chat_commands; command->name; command++) {
        int n = printf("  %s", command->name);
        printf("%*s%s\n", n < 16 ? 16 - n : 1, "", command->help);
    }
}

static void obey(struct chat *chat, char *line)
{
    size_t n = strcspn(line, " ");
    char *argument = line + n + strspn(line + n, " ");
    for (size_t end = strlen(argument); end > 0 && argument[end - 1] == ' ';)
        argument[--end] = '\0';
    line[n] = '\0';
    if (strcmp(line, "/help") == 0)
        show_help();
    else if (strcmp(line, "/clear") == 0)
        clear(chat);
    else if (strcmp(line, "/stats") == 0)
        show_stats(chat);
    else if (strcmp(line, "/save") == 0)
        save(chat, argument);
    else
        cli_usage("no command %s: /help lists them", line);
}

static void answer(struct chat *chat, const struct buffer *message)
{
    struct engine *engine = chat->engine;
    if (conversation_add(chat->conversation, "user", message->data, message->n) != 0) {
        cli_fail("out of memory");
        return;
    }
    int status = reply_conversation(engine, chat->options, chat->conversation, true);
    if (status == EXIT_INTERRUPTED) {
        interrupt_clear();
        printf("(stopped)\n");
    }
    /* What was said counts, also when it was stopped; a turn that failed or was stopped before that did not happen. */
    if (status == EXIT_FAILED || (status == EXIT_INTERRUPTED && engine->text.n == 0) ||
        conversation_add(chat->conversation, "assistant", engine->text.data, engine->text.n) != 0)
        conversation_drop(chat->conversation);
}

int chat(struct engine *engine, const struct options *options)
{
    struct chat chat = {.engine = engine, .options = options};
    struct buffer message = {0};
    chat.conversation = conversation_create(options->system);
    int status = chat.conversation ? editor_open(&chat) : cli_fail("out of memory");
    if (status == EXIT_OK) {
        const char *name = stile_model_info(engine->model)->name;
        text_line(stdout, *name ? name : options->arguments[0]);
        printf(": /help lists the commands, Ctrl-D leaves\n");
        while (read_message(&chat, &message)) {
            if (message.failed)
                cli_fail("out of memory");
            else if (message.n > 0 && message.data[0] == '/')
                obey(&chat, message.data);
            else if (message.n > 0)
                answer(&chat, &message);
            fflush(stdout);
        }
    }
    editor_close(&chat);
    json_decref(chat.conversation);
    buffer_free(&message);
    return status;
}
