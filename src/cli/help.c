/* help.c - everything about the commands and options that a person or a shell can ask for, from the two tables. */
#include "cli/chat.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 80, COLUMN = 28 };

/* Prints words from column `at` on, wrapped to WIDTH with later lines indented by `indent`. */
static void print_wrapped(const char *text, int at, int indent)
{
    while (*text) {
        int n = (int)strcspn(text, " \n");
        if (at > indent && at + 1 + n > WIDTH) {
            printf("\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, text);
        at += n;
        text += n;
        for (; *text == ' ' || *text == '\n'; text++) {
            if (*text != '\n') continue;
            printf("\n%*s", indent, "");
            at = indent;
        }
    }
    putchar('\n');
}

/* "the prompt (default 0.8)" */
static const char *option_help(const struct option *option, char *out, size_t capacity)
{
    char value[64];
    struct options defaults = options_defaults();
    if (option->fallback)
        snprintf(value, sizeof value, "%s", option->fallback);
    else
        option_format(option, &defaults, value, sizeof value);
    snprintf(out, capacity, *value ? "%s (default: %s)" : "%s", option->help, value);
    return out;
}

static bool is_listed(const struct option *option, const struct command *command)
{
    return option->help && option->commands & command->bit;
}

void help_command(const struct command *command)
{
    char text[256];
    printf("usage: stile %s %s\n\n", command->name, command->arguments);
    print_wrapped(command->text, 0, 0);
    printf("\noptions:\n");
    for (const struct option *option = option_table; option->name; option++) {
        if (!is_listed(option, command)) continue;
        int n = option->letter ? printf("  -%c, ", option->letter) : printf("      ");
        n += printf("--%s%s%s", option->name, option->argument ? " " : "", option->argument ? option->argument : "");
        if (n >= COLUMN) putchar('\n'), n = 0;
        printf("%*s", COLUMN - n, "");
        print_wrapped(option_help(option, text, sizeof text), COLUMN, COLUMN);
    }
}

void help_overview(void)
{
    printf("stile %s runs language models from the files they are published in.\n\n", stile_version());
    for (const struct command *command = command_table; command->name; command++) {
        int n = printf("  stile %s", command->name);
        printf("%*s", COLUMN - 10 - n, "");
        print_wrapped(command->summary, COLUMN - 10, COLUMN - 10);
    }
    printf("\n'stile help COMMAND' tells more, 'stile --version' the version.\n"
           "Try: stile run smollm2 -p 'Why is the sky blue?'\n");
}

/* ---- the man page --------------------------------------------------------------------------- */

static void man_text(const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\'')) printf("\\&");
        line_start = *text == '\n';
        if (*text == '\\')
            printf("\\e");
        else if (*text == '-')
            printf("\\-");
        else if (*text == '\n' && text[1] == '\n')
            printf("\n.P"); /* the second newline ends the line */
        else
            putchar(*text);
    }
    putchar('\n');
}

static void man_option(const struct option *option)
{
    char text[256];
    printf(".TP\n");
    if (option->letter) printf("\\fB\\-%c\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    for (const char *c = option->name; *c; c++)
        printf(*c == '-' ? "\\-" : "%c", *c);
    printf("\\fR");
    if (option->argument) printf(" \\fI%s\\fR", option->argument);
    putchar('\n');
    man_text(option_help(option, text, sizeof text));
}

void help_man(void)
{
    static const char *const tail =
        ".SH EXIT STATUS\n"
        "0: done. 1: the work failed; one line on standard error says what and where. 2: the command line makes no\n"
        "sense. 130: stopped by Ctrl\\-C.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.B XDG_CACHE_HOME\nwhere models with short names are (stile/models) and what was measured of the\n"
        "machine, and the lines typed in chats (stile/history)\n"
        ".TP\n.B HOME\nits .cache is used where XDG_CACHE_HOME is not set\n"
        ".TP\n.B NO_COLOR\nno colours when it is set\n"
        ".SH EXAMPLES\n.nf\n"
        "stile run smollm2 \\-p 'Why is the sky blue?'\n"
        "stile run model.gguf \\-f question.txt \\-\\-temp 0 \\-\\-json\n"
        "git diff | stile run model.gguf \\-\\-system 'Summarize this change.'\n"
        "stile info model.gguf \\-\\-ctx 32768\n"
        "stile run model.gguf \\-\\-memory\\-limit 6G\n"
        "stile quantize model\\-f16.gguf small.gguf \\-\\-format q4_k_m\n"
        ".fi\n";
    printf(".TH STILE 1 \"\" \"stile %s\" \"User Commands\"\n", stile_version());
    printf(".SH NAME\nstile \\- run language models from the files they are published in\n.SH SYNOPSIS\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf(".B stile %s\n", command->name);
        man_text(command->arguments);
        printf(".br\n");
    }
    printf(".B stile \\-\\-version\n.SH DESCRIPTION\n");
    man_text("stile runs open language models on the processor, straight from GGUF files and Hugging Face folders. "
             "MODEL is the path of a file (any file of a sharded set), of a folder (config.json, tokenizer.json, "
             "safetensors), or a short name, such as smollm2, of a model in the cache folder.");
    printf(".SH COMMANDS\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf(".SS stile %s\n", command->name);
        man_text(command->text);
        for (const struct option *option = option_table; option->name; option++)
            if (is_listed(option, command)) man_option(option);
    }
    printf(".SH IN A CHAT\n");
    for (const struct chat_command *command = chat_commands; command->name; command++) {
        printf(".TP\n.B ");
        man_text(command->name);
        man_text(command->help);
    }
    fputs(tail, stdout);
}

/* ---- completion ----------------------------------------------------------------------------- */

/* The words of all listed options of a command, "--a --b", or those of one type. */
static void print_words(const struct command *command)
{
    for (const struct option *option = option_table; option->name; option++)
        if (is_listed(option, command)) printf(" --%s", option->name);
}

static void completion_bash(void)
{
    printf("# bash completion for stile\n"
           "_stile() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=\n"
           "    if ((COMP_CWORD == 1)); then\n        words='--version --help");
    for (const struct command *command = command_table; command->name; command++)
        printf(" %s", command->name);
    printf("'\n    elif [[ $word == -* ]]; then\n        case ${COMP_WORDS[1]} in\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf("        %s) words='", command->name);
        print_words(command);
        printf("' ;;\n");
    }
    printf("        esac\n    else\n        case $previous in\n        help) words='");
    for (const struct command *command = command_table; command->name; command++)
        printf(" %s", command->name);
    printf("' ;;\n");
    for (const struct option *option = option_table; option->name; option++)
        if (option->type == OPTION_CHOICE && option->help)
            printf("        --%s) words=$(tr '|' ' ' <<<'%s') ;;\n", option->name, option->argument);
    printf("        esac\n    fi\n"
           "    if [[ -n $words ]]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "    else\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
           "        compopt -o filenames\n"
           "    fi\n"
           "}\n"
           "complete -F _stile stile\n");
}

/* The shell's single quotes: ' becomes '\''. */
static void print_single_quoted(const char *text)
{
    for (; *text; text++)
        *text == '\'' ? (void)printf("'\\''") : (void)putchar(*text);
}

static void completion_zsh(void)
{
    printf("#compdef stile\n\n_stile() {\n    local -a commands\n    commands=(\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf("        '%s:", command->name);
        print_single_quoted(command->summary);
        printf("'\n");
    }
    printf("    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
           "    local which=$words[2]\n    shift words\n    ((CURRENT--))\n    case $which in\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf("    %s)\n        _arguments \\\n", command->name);
        for (const struct option *option = option_table; option->name; option++) {
            if (!is_listed(option, command)) continue;
            printf("            '%s--%s[", option->type == OPTION_STOP ? "*" : "", option->name);
            print_single_quoted(option->help);
            printf("]");
            if (option->type == OPTION_FILE)
                printf(":file:_files");
            else if (option->type == OPTION_CHOICE) {
                printf(":word:(");
                for (const char *c = option->argument; *c; c++)
                    putchar(*c == '|' ? ' ' : *c);
                printf(")");
            } else if (option->argument)
                printf(":%s:", option->argument);
            printf("' \\\n");
        }
        printf("            '*:file:_files'\n        ;;\n");
    }
    printf("    esac\n}\n\n_stile \"$@\"\n");
}

static void completion_fish(void)
{
    printf("# fish completion for stile\n");
    for (const struct command *command = command_table; command->name; command++) {
        printf("complete -c stile -n __fish_use_subcommand -f -a %s -d \"%s\"\n", command->name, command->summary);
        for (const struct option *option = option_table; option->name; option++) {
            if (!is_listed(option, command)) continue;
            printf("complete -c stile -n '__fish_seen_subcommand_from %s' -l %s", command->name, option->name);
            if (option->letter) printf(" -s %c", option->letter);
            if (option->type == OPTION_CHOICE) {
                printf(" -x -a '");
                for (const char *c = option->argument; *c; c++)
                    putchar(*c == '|' ? ' ' : *c);
                printf("'");
            } else if (option->type != OPTION_FLAG) {
                printf(option->type == OPTION_FILE ? " -r" : " -x");
            }
            printf(" -d \"%s\"\n", option->help);
        }
    }
}

void help_completion(const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        completion_bash();
    else if (strcmp(shell, "zsh") == 0)
        completion_zsh();
    else
        completion_fish();
}

int command_help(const struct options *options)
{
    if (options->man) {
        help_man();
    } else if (options->completion) {
        help_completion(options->completion);
    } else if (options->arguments[0]) {
        const struct command *command = command_find(options->arguments[0]);
        if (!command) return EXIT_USAGE;
        help_command(command);
    } else {
        help_overview();
    }
    return EXIT_OK;
}
