/* How fast a replay must be to be done at a time. Pure: values in, values out.
 *
 * "Done" is caught up to the live end, so what arrives meanwhile counts. It aims at somewhat before the
 * time (FINISH_MARGIN of what is left, within bounds): with nothing in the way the speed that is needed
 * falls slowly on the way, and a disturbance is made up for by a little more speed, not by being late. */
#ifndef KAPPA_CONTROLLER_FINISH_H
#define KAPPA_CONTROLLER_FINISH_H

#include "base/base.h"

#define FINISH_MARGIN       0.1   /* of the time that is left */
#define FINISH_MARGIN_S_MIN 3.0   /* sealing, a slow second */
#define FINISH_MARGIN_S_MAX 600.0 /* hours are not wasted on long replays */
#define FINISH_NEVER        (-1.0)

/* Records/s: `lag` records and what arrives (records/s), in left_s seconds. PACE_MOST when the time is
 * over, or nearly. */
double finish_needs(int64_t lag, double arrival, double left_s);
/* By how many seconds it will be late at this rate: 0 when it will not; FINISH_NEVER when it does not
 * get there at all. rate 0: not known, so only what is late already. */
double finish_late_s(int64_t lag, double rate, double arrival, double left_s);

#endif
