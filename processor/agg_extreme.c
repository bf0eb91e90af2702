/* min and max; bool_and and bool_or are these of booleans. Bytes: u8 seen; if seen the value
 * (value_codec.h). Own header: agg_operator.h. */
#include "processor/agg_operator.h"
#include "processor/key_codec.h"
#include "processor/numeric.h"

#include <string.h>

struct extreme {
    union {
        int64_t i;
        double d;
    };

    uint64_t seen;
};

static inline bool is_greatest(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_MAX || slot->plan->kind == PLAN_BOOL_OR;
}

static inline void offer_int(struct extreme *kept, bool greatest, int64_t value)
{
    if (kept->seen == 0 || (greatest ? value > kept->i : value < kept->i)) {
        kept->i = value;
        kept->seen = 1;
    }
}

static inline void offer_double(struct extreme *kept, bool greatest, double value)
{
    if (kept->seen == 0 ||
        (greatest ? agg_double_below(kept->d, value) : agg_double_below(value, kept->d))) {
        kept->d = value;
        kept->seen = 1;
    }
}

static bool is_double(const struct agg_slot *slot)
{
    return kappa_type_payload(slot->plan->argument_type) == KAPPA_PAYLOAD_DOUBLE;
}

static void update_int(const struct agg_slot *slot, const struct agg_rows *rows,
                       const struct expr_vec *registers)
{
    bool greatest = is_greatest(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct extreme *kept; (kept = agg_next(&taken)) != NULL;) {
        offer_int(kept, greatest, taken.argument->i[taken.row]);
    }
}

static void update_double(const struct agg_slot *slot, const struct agg_rows *rows,
                          const struct expr_vec *registers)
{
    bool greatest = is_greatest(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct extreme *kept; (kept = agg_next(&taken)) != NULL;) {
        offer_double(kept, greatest, key_double(taken.argument->d[taken.row]));
    }
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    const struct extreme *kept = at;
    buf_append_u8(out, (uint8_t)kept->seen);
    if (kept->seen == 0) {
        return;
    }
    if (is_double(slot)) {
        agg_put_double(out, kept->d);
    } else {
        buf_append_varint(out, agg_zigzag(kept->i));
    }
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    (void)pool;
    uint8_t seen = 0;
    uint64_t wire = 0;
    double value = 0;
    if (!agg_take_u8(in, &seen) || seen > 1) {
        return false;
    }
    if (seen == 0) {
        return true;
    }
    if (is_double(slot)) {
        bool good = agg_take_double(in, &value);
        offer_double(at, is_greatest(slot), value);
        return good;
    }
    bool good = agg_take_varint(in, &wire);
    offer_int(at, is_greatest(slot), agg_unzigzag(wire));
    return good;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)pool;
    const struct extreme *more = from;
    if (more->seen == 0) {
        return;
    }
    if (is_double(slot)) {
        offer_double(to, is_greatest(slot), more->d);
    } else {
        offer_int(to, is_greatest(slot), more->i);
    }
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)slot, (void)arena;
    const struct extreme *kept = at;
    out->state[0] = kept->seen != 0 ? EXPR_OK : EXPR_NULL;
    memcpy(&out->i[0], &kept->i, sizeof kept->i);
}

const struct agg_operator agg_extreme_int = {.bytes = sizeof(struct extreme),
                                             .adds = true,
                                             .update = update_int,
                                             .encode = encode,
                                             .decode = decode,
                                             .merge = merge,
                                             .result = result};

const struct agg_operator agg_extreme_double = {.bytes = sizeof(struct extreme),
                                                .adds = true,
                                                .update = update_double,
                                                .encode = encode,
                                                .decode = decode,
                                                .merge = merge,
                                                .result = result};

/* ---- Numerics. Of equal ones the one with more digits stays: then the order does not matter. */

struct extreme_numeric {
    struct kappa_numeric n;
    uint64_t seen;
};

static void offer_numeric(struct extreme_numeric *kept, bool greatest, struct kappa_numeric n)
{
    int order = kept->seen == 0 ? 0 : numeric_compare(n, kept->n);
    if (kept->seen == 0 || (greatest ? order > 0 : order < 0) ||
        (order == 0 && n.scale > kept->n.scale)) {
        kept->n = n;
        kept->seen = 1;
    }
}

static void update_numeric(const struct agg_slot *slot, const struct agg_rows *rows,
                           const struct expr_vec *registers)
{
    bool greatest = is_greatest(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct extreme_numeric *kept; (kept = agg_next(&taken)) != NULL;) {
        offer_numeric(kept, greatest, taken.argument->n[taken.row]);
    }
}

static void encode_numeric(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct extreme_numeric *kept = at;
    buf_append_u8(out, (uint8_t)kept->seen);
    if (kept->seen != 0) {
        agg_put_numeric(out, kept->n);
    }
}

static bool decode_numeric(const struct agg_slot *slot, void *at, struct pool *pool,
                           struct agg_cursor *in)
{
    (void)pool;
    uint8_t seen = 0;
    struct kappa_numeric n;
    if (!agg_take_u8(in, &seen) || seen > 1 || (seen == 1 && !agg_take_numeric(in, &n))) {
        return false;
    }
    if (seen == 1) {
        offer_numeric(at, is_greatest(slot), n);
    }
    return true;
}

static void merge_numeric(const struct agg_slot *slot, void *to, const void *from,
                          struct pool *pool)
{
    (void)pool;
    const struct extreme_numeric *more = from;
    if (more->seen != 0) {
        offer_numeric(to, is_greatest(slot), more->n);
    }
}

static void result_numeric(const struct agg_slot *slot, const void *at, struct arena *arena,
                           struct expr_vec *out)
{
    (void)slot, (void)arena;
    const struct extreme_numeric *kept = at;
    out->state[0] = kept->seen != 0 ? EXPR_OK : EXPR_NULL;
    out->n[0] = kept->n;
}

const struct agg_operator agg_extreme_numeric = {.bytes = sizeof(struct extreme_numeric),
                                                 .adds = true,
                                                 .update = update_numeric,
                                                 .encode = encode_numeric,
                                                 .decode = decode_numeric,
                                                 .merge = merge_numeric,
                                                 .result = result_numeric};

/* ---- Texts. */

void agg_text_set(struct agg_text *text, struct pool *pool, const void *bytes, uint32_t len)
{
    if (text->bytes == NULL || text->capacity < len) {
        agg_text_free(text, pool);
        text->capacity = u32_from(pool_block_size(len == 0 ? 1 : len));
        text->bytes = pool_alloc(pool, text->capacity);
    }
    if (len > 0) {
        memcpy(text->bytes, bytes, len);
    }
    text->len = len;
}

void agg_text_free(struct agg_text *text, struct pool *pool)
{
    if (text->bytes != NULL) {
        pool_free(pool, text->bytes, text->capacity);
    }
    *text = (struct agg_text){0};
}

bool agg_text_below(const void *a, uint32_t a_len, const void *b, uint32_t b_len)
{
    uint32_t len = a_len < b_len ? a_len : b_len;
    int order = len == 0 ? 0 : memcmp(a, b, len);
    return order < 0 || (order == 0 && a_len < b_len);
}

static void offer_text(struct agg_text *kept, bool greatest, const void *bytes, uint32_t len,
                       struct pool *pool)
{
    if (kept->bytes == NULL || (greatest ? agg_text_below(kept->bytes, kept->len, bytes, len)
                                         : agg_text_below(bytes, len, kept->bytes, kept->len))) {
        agg_text_set(kept, pool, bytes, len);
    }
}

static void update_text(const struct agg_slot *slot, const struct agg_rows *rows,
                        const struct expr_vec *registers)
{
    bool greatest = is_greatest(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct agg_text *kept; (kept = agg_next(&taken)) != NULL;) {
        struct kappa_text value = taken.argument->s[taken.row];
        offer_text(kept, greatest, value.bytes, value.len, rows->pool);
    }
}

static void encode_text(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct agg_text *kept = at;
    buf_append_u8(out, kept->bytes != NULL);
    if (kept->bytes != NULL) {
        buf_append_varint(out, kept->len);
        buf_append(out, kept->bytes, kept->len);
    }
}

static bool decode_text(const struct agg_slot *slot, void *at, struct pool *pool,
                        struct agg_cursor *in)
{
    uint8_t seen = 0;
    if (!agg_take_u8(in, &seen) || seen > 1) {
        return false;
    }
    struct kappa_text text;
    if (seen == 1) {
        if (!agg_take_text(in, &text)) {
            return false;
        }
        offer_text(at, is_greatest(slot), text.bytes, text.len, pool);
    }
    return true;
}

static void merge_text(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    const struct agg_text *more = from;
    if (more->bytes != NULL) {
        offer_text(to, is_greatest(slot), more->bytes, more->len, pool);
    }
}

static void result_text(const struct agg_slot *slot, const void *at, struct arena *arena,
                        struct expr_vec *out)
{
    (void)slot, (void)arena;
    const struct agg_text *kept = at;
    out->s[0] = (struct kappa_text){(const char *)kept->bytes, kept->len};
    out->state[0] = kept->bytes != NULL ? EXPR_OK : EXPR_NULL;
}

static void free_text(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    agg_text_free(at, pool);
}

static size_t owned_text(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return ((const struct agg_text *)at)->capacity;
}

static void prefetch_text(const void *at)
{
    __builtin_prefetch(((const struct agg_text *)at)->bytes);
}

const struct agg_operator agg_extreme_text = {.bytes = sizeof(struct agg_text),
                                              .adds = true,
                                              .update = update_text,
                                              .encode = encode_text,
                                              .decode = decode_text,
                                              .merge = merge_text,
                                              .result = result_text,
                                              .free = free_text,
                                              .owned = owned_text,
                                              .prefetch = prefetch_text};
