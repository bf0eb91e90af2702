/* The speed to be done in time. Own header: finish.h. */
#include "controller/finish.h"

#include "controller/pace.h"
#include "replayer/catchup.h"

#include <math.h>

double finish_needs(int64_t lag, double arrival, double left_s)
{
    double margin = fmin(fmax(FINISH_MARGIN * left_s, FINISH_MARGIN_S_MIN), FINISH_MARGIN_S_MAX);
    double aim = left_s - margin;
    if (!(aim > 0)) {
        return PACE_MOST;
    }
    return fmin(fmax(arrival, 0) + (double)i64_max(lag, 0) / aim, PACE_MOST);
}

double finish_late_s(int64_t lag, double rate, double arrival, double left_s)
{
    if (!(rate > 0)) {
        return fmax(-left_s, 0);
    }
    double eta = catchup_eta_seconds(lag, rate, arrival);
    return eta < 0 ? FINISH_NEVER : fmax(eta - left_s, 0);
}
