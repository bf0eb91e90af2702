/* Logic: AND, OR, NOT, tests of null and truth, CASE, COALESCE, GREATEST, LEAST, IS DISTINCT FROM.
 * Own header: expr_step.h. Here, and only here, a state may go away. */
#include "processor/expr_step.h"

#include <string.h>

/* acc = acc AND next (dominant 0) or acc OR next (dominant 1): the dominant value wins, then the
 * leftmost error, then null. */
static void logic_join(struct expr_vec *acc, const struct expr_vec *next, uint32_t n,
                       int64_t dominant)
{
    for (uint32_t i = 0; i < n; i++) {
        bool acc_wins = acc->state[i] == EXPR_OK && acc->i[i] == dominant;
        bool next_wins = next->state[i] == EXPR_OK && next->i[i] == dominant;
        if (acc_wins || (!next_wins && acc->state[i] >= next->state[i]) ||
            (!next_wins && acc->state[i] >= EXPR_ERROR_FIRST)) {
            continue;
        }
        acc->i[i] = next->i[i];
        acc->state[i] = next->state[i];
    }
}

static void logic_run(const struct expr_step *step, const struct expr_frame *frame,
                      int64_t dominant)
{
    struct expr_vec *out = expr_out(step, frame);
    const struct expr_vec *first = expr_arg(step, frame, 0);
    uint32_t n = frame->n;
    memcpy(out->i, first->i, sizeof(int64_t) * n);
    memcpy(out->state, first->state, n);
    bool ok = expr_all_ok(out->state, n);
    for (uint32_t k = 1; k < step->arg_count; k++) {
        const struct expr_vec *next = expr_arg(step, frame, k);
        ok = ok && expr_all_ok(next->state, n);
        if (!ok) {
            logic_join(out, next, n, dominant);
            continue;
        }
        int64_t *restrict acc = out->i;
        const int64_t *restrict b = next->i;
        for (uint32_t i = 0; i < n; i++) {
            acc[i] = dominant == 0 ? acc[i] & b[i] : acc[i] | b[i];
        }
    }
}

void expr_and(const struct expr_step *step, const struct expr_frame *frame)
{
    logic_run(step, frame, 0);
}

void expr_or(const struct expr_step *step, const struct expr_frame *frame)
{
    logic_run(step, frame, 1);
}

void expr_not(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *restrict a = expr_arg(step, frame, 0)->i;
    int64_t *restrict out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = a[i] ^ 1;
    }
}

/* The states of a test that is never null: errors stay. */
static void states_test(const struct expr_step *step, const struct expr_frame *frame)
{
    const uint8_t *a = expr_arg(step, frame, 0)->state;
    uint8_t *state = expr_out(step, frame)->state;
    for (uint32_t i = 0; i < frame->n; i++) {
        state[i] = a[i] == EXPR_NULL ? EXPR_OK : a[i];
    }
}

void expr_is_null(const struct expr_step *step, const struct expr_frame *frame)
{
    states_test(step, frame);
    const uint8_t *a = expr_arg(step, frame, 0)->state;
    int64_t *out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = a[i] == EXPR_NULL;
    }
}

static void truth_test(const struct expr_step *step, const struct expr_frame *frame, int64_t truth)
{
    states_test(step, frame);
    const struct expr_vec *a = expr_arg(step, frame, 0);
    int64_t *out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = (a->state[i] == EXPR_OK) & (a->i[i] == truth);
    }
}

void expr_is_true(const struct expr_step *step, const struct expr_frame *frame)
{
    truth_test(step, frame, 1);
}

void expr_is_false(const struct expr_step *step, const struct expr_frame *frame)
{
    truth_test(step, frame, 0);
}

/* The operand whose value row i takes; a condition in error is taken itself, for its state. */
static const struct expr_vec *case_choose(const struct expr_step *step,
                                          const struct expr_frame *frame, uint32_t i)
{
    uint32_t k = 0;
    for (; k + 1 < step->arg_count; k += 2) {
        const struct expr_vec *when = expr_arg(step, frame, k);
        if (when->state[i] >= EXPR_ERROR_FIRST) {
            return when;
        }
        if (when->state[i] == EXPR_OK && when->i[i] != 0) {
            return expr_arg(step, frame, k + 1);
        }
    }
    return expr_arg(step, frame, k);
}

void expr_case(const struct expr_step *step, const struct expr_frame *frame)
{
    ASSERT_CMP(step->arg_count % 2, ==, 1);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        const struct expr_vec *chosen = case_choose(step, frame, i);
        if (chosen->state[i] == EXPR_OK) {
            expr_copy(out, chosen, i);
        } else {
            out->state[i] = chosen->state[i];
        }
    }
}

void expr_coalesce(const struct expr_step *step, const struct expr_frame *frame)
{
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        uint32_t k = 0;
        while (k + 1 < step->arg_count && expr_arg(step, frame, k)->state[i] == EXPR_NULL) {
            k++;
        }
        expr_copy(out, expr_arg(step, frame, k), i);
    }
}

/* Nulls are passed over; the leftmost error wins. */
static void extreme(const struct expr_step *step, const struct expr_frame *frame, int sign)
{
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        expr_copy(out, expr_arg(step, frame, 0), i);
        for (uint32_t k = 1; k < step->arg_count && out->state[i] < EXPR_ERROR_FIRST; k++) {
            const struct expr_vec *next = expr_arg(step, frame, k);
            if (next->state[i] == EXPR_NULL) {
                continue;
            }
            if (next->state[i] != EXPR_OK || out->state[i] == EXPR_NULL ||
                expr_compare_rows(next, out, i) * sign > 0) {
                expr_copy(out, next, i);
            }
        }
    }
}

void expr_greatest(const struct expr_step *step, const struct expr_frame *frame)
{
    extreme(step, frame, 1);
}

void expr_least(const struct expr_step *step, const struct expr_frame *frame)
{
    extreme(step, frame, -1);
}

void expr_distinct(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *a = expr_arg(step, frame, 0);
    const struct expr_vec *b = expr_arg(step, frame, 1);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->i[i] = expr_compare_rows(a, b, i) != 0;
        } else if (out->state[i] == EXPR_NULL) {
            out->state[i] = EXPR_OK;
            out->i[i] = a->state[i] != b->state[i];
        }
    }
}
