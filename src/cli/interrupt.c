/* interrupt.c - Ctrl-C as a flag. */
#include "cli/interrupt.h"

#include <signal.h>
#include <string.h>

static volatile int seen; /* an int that is written whole, read by other threads as the library's cancel flag */

static void on_interrupt(int signal_number)
{
    if (seen) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    seen = 1;
}

void interrupt_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt; /* no SA_RESTART: a read at the prompt ends */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}

void interrupt_clear(void)
{
    seen = 0;
}

const volatile int *interrupt_flag(void)
{
    return &seen;
}
