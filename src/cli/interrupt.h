/* interrupt.h - Ctrl-C as a flag: the first one stops the work at hand, a second one before interrupt_clear ends the
 * program.
 */
#ifndef STILE_CLI_INTERRUPT_H
#define STILE_CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);
bool interrupt_seen(void);
void interrupt_clear(void);
/* For stile_session_options.cancel. */
const volatile int *interrupt_flag(void);

#endif
