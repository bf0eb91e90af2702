/* Operators on the bits of whole numbers: & | # ~ << >>. Own header: functions.def.
 *
 * An integer of 32 bits is kept sign-extended in 64: only << can leave it. Distances of shifts count
 * modulo the width. */
#include "processor/functions.h"

#define BITS(name, expression)                                                                     \
    void name(const struct expr_step *step, const struct expr_frame *frame)                        \
    {                                                                                              \
        (void)expr_strict(step, frame);                                                            \
        const int64_t *restrict left = expr_arg(step, frame, 0)->i;                                \
        const int64_t *restrict right = expr_arg(step, frame, step->arg_count - 1)->i;             \
        int64_t *restrict out = expr_out(step, frame)->i;                                          \
        for (uint32_t i = 0; i < frame->n; i++) {                                                  \
            int64_t a = left[i];                                                                   \
            int64_t b = right[i];                                                                  \
            (void)b;                                                                               \
            out[i] = (expression);                                                                 \
        }                                                                                          \
    }

BITS(expr_bits_and, a &b)
BITS(expr_bits_or, a | b)
BITS(expr_bits_xor, a ^ b)
BITS(expr_bits_not, ~a)
BITS(expr_shift_left_integer, (int32_t)((uint32_t)a << (b & 31)))
BITS(expr_shift_left_bigint, (int64_t)((uint64_t)a << (b & 63)))
BITS(expr_shift_right_integer, a >> (b & 31))
BITS(expr_shift_right_bigint, a >> (b & 63))
