/* Slow questions to the log, asked in a thread of their own soon, and then every two seconds:
 *
 *  - Is each topic still the one that the version was made for?
 *  - While nothing reads, does the log still hold the next record of each source? (A reader that reads
 *    learns that by itself.)
 *  - Where does the log end, of a source whose reader does not know (it reads an archive)?
 *  - Is a source that stands still below the high watermark at the last stable offset? Then an open
 *    transaction blocks it. Only those are asked for that stood still, with something behind them, at
 *    the look before too: transactions that come and go block nobody for long.
 *
 * and what is told: the committed cut under the name of the version's group, when it has moved, and
 * once an hour, since brokers forget groups that nobody commits.
 *
 *     worker_monitor_start -> (worker_monitor_tell, worker_monitor_look)... -> worker_monitor_stop
 *
 * A question to a broker that is away can block without bound; then stop gives up on the thread and
 * says so, and the log must not be closed. Trouble of asking is no finding: only an answer that
 * contradicts the version is. */
#ifndef KAPPA_REPLAYER_WORKER_MONITOR_H
#define KAPPA_REPLAYER_WORKER_MONITOR_H

#include "log/log.h"
#include "replayer/worker_protocol.h"

struct worker_monitor;

/* open and log are borrowed until stop; event_fd is written when there is a finding. */
struct worker_monitor *worker_monitor_start(const struct worker_open *open, struct log *log,
                                            int event_fd);
/* Tells where the sources stand while nothing reads (paused); NULL: they are being read. Offsets
 * are copied. */
void worker_monitor_resting(struct worker_monitor *monitor, const int64_t *next);
/* How the sources stand, copied: next offsets, committed ones, and behind all that is there, or -1. */
void worker_monitor_tell(struct worker_monitor *monitor, const int64_t *next,
                         const int64_t *committed, const int64_t *high);
/* Which of the sources that stand there are blocked. */
void worker_monitor_blocked(struct worker_monitor *monitor, const int64_t *next, bool *blocked);
/* True and *finding (RANGE_LOST, TOPIC_CHANGED) once something was found; *source: whose, or
 * UINT32_MAX. */
bool worker_monitor_look(struct worker_monitor *monitor, struct err *finding, uint32_t *source);
/* Start and end of each source as learnt here, merged into the arrays by maximum. */
void worker_monitor_offsets(struct worker_monitor *monitor, int64_t *start, int64_t *end);
/* False: the thread is stuck in the log and was left alone with it. */
bool worker_monitor_stop(struct worker_monitor *monitor);

#endif
