/* commands.h - what the commands are, one file each, and what they share. */
#ifndef STILE_CLI_COMMANDS_H
#define STILE_CLI_COMMANDS_H

#include "cli/options.h"

int command_run(const struct options *options);
int command_info(const struct options *options);
int command_tokenize(const struct options *options);
int command_bench(const struct options *options);
int command_probe(const struct options *options);
int command_plan(const struct options *options);
int command_quality(const struct options *options);
int command_quantize(const struct options *options);
int command_calibrate(const struct options *options);
int command_help(const struct options *options);

/* help.c: what --help, the man page and the shells print, all on stdout. */
void help_overview(void);
void help_command(const struct command *command);
void help_man(void);
void help_completion(const char *shell);

#endif
