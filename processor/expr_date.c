/* Dates and times without zone: casts, arithmetic. Own header: expr_step.h, functions.def. */
#include "processor/functions.h"

#define US_DAY INT64_C(86400000000)

/* Also of timestamptz: times are UTC. */
void expr_timestamp_from_date(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool over = __builtin_mul_overflow(a[i], US_DAY, &out->i[i]);
        expr_fail(&out->state[i], over, EXPR_ERROR_OVERFLOW);
    }
}

void expr_date_from_timestamp(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    int64_t *out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = a[i] / US_DAY - (a[i] % US_DAY < 0 ? 1 : 0);
    }
}
