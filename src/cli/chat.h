/* chat.h - the conversation at a terminal. */
#ifndef STILE_CLI_CHAT_H
#define STILE_CLI_CHAT_H

#include "cli/reply.h"

/* The /commands, for the loop, /help and the man page; ends with name NULL. */
struct chat_command {
    const char *name, *help;
};
extern const struct chat_command chat_commands[];

/* Reads lines and answers them until Ctrl-D. Returns the exit code. */
int chat(struct engine *engine, const struct options *options);

#endif
