/* Diagnostic messages for people: one line on stderr,
 *     2026-01-31T12:00:00.123Z info  controller: user-features v2 is ready
 * Thread-safe. Level from KAPPA_LOG (debug, info, warn, error), default info. */
#ifndef KAPPA_BASE_TRACE_H
#define KAPPA_BASE_TRACE_H

#include "base/base.h"

enum trace_level { TRACE_DEBUG, TRACE_INFO, TRACE_WARN, TRACE_ERROR };

/* area: who speaks, e.g. "worker user-features v2"; set once per process. */
void trace_set_area(const char *area);
void trace(enum trace_level level, const char *format, ...) printf_like(2, 3);

#endif
