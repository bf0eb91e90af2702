/* A value of any type kept in a state: its 24 bytes, and for texts what they own in the pool. The
 * type is known from the plan and not kept. For agg_*.c. */
#ifndef KAPPA_PROCESSOR_AGG_VALUE_H
#define KAPPA_PROCESSOR_AGG_VALUE_H

#include "processor/agg_operator.h"

struct agg_value { /* zeroed: owns nothing */

    union { /* by kappa_type_payload */
        int64_t i;
        double d;
        struct agg_text s;
        struct kappa_numeric n;
    };
};

/* Copies; what was there before is given back. */
void agg_value_set(struct agg_value *value, struct pool *pool, const struct kappa_value *from);
/* Text is borrowed. */
struct kappa_value agg_value_get(const struct agg_value *value, enum kappa_type type);
void agg_value_free(struct agg_value *value, enum kappa_type type, struct pool *pool);
/* The one value of those that are equal: no -0, one NaN, no zeros at a numeric's end. */
struct kappa_value agg_value_canonical(struct kappa_value value);
/* The bytes of a canonical value: equal values have equal ones. Borrowed from it. */
struct kappa_text agg_value_bytes(const struct kappa_value *value);
/* The value of such bytes; text is borrowed from them. */
struct kappa_value agg_value_of_bytes(const void *bytes, uint32_t len, enum kappa_type type);

/* A JSON array in the making: adds an element; ends it and sets it as row 0 of a jsonb vector. */
void agg_json_add(struct buf *text, const struct kappa_value *value);
void agg_json_result(struct buf *text, struct arena *arena, struct expr_vec *out);

#endif
