/* Ctrl-C and SIGTERM of a command that takes away what it has begun: the first one is noted, the second one
 * ends the process. */
#ifndef KAPPA_CLI_INTERRUPT_H
#define KAPPA_CLI_INTERRUPT_H

#include <stdatomic.h>

/* True once a signal has come. The same at each call. */
atomic_bool *interrupt_catch(void);

#endif
