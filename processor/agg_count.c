/* count(*), count(x) and count_if(condition). Slot: int64. Bytes: varint. Own header: agg_operator.h. */
#include "processor/agg_operator.h"

static void update_rows(const struct agg_slot *slot, const struct agg_rows *rows,
                        const struct expr_vec *registers)
{
    const struct expr_vec *filter = agg_filter(slot, registers);
    for (uint32_t i = 0; i < rows->count; i++) {
        int64_t *n = agg_at(slot, rows, i);
        *n += agg_passes(filter, rows->rows[i]) ? 1 : 0;
    }
}

static void update_values(const struct agg_slot *slot, const struct agg_rows *rows,
                          const struct expr_vec *registers)
{
    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    for (uint32_t i = 0; i < rows->count; i++) {
        int64_t *n = agg_at(slot, rows, i);
        *n += agg_takes(argument, filter, rows->rows[i]) ? 1 : 0;
    }
}

static void update_if(const struct agg_slot *slot, const struct agg_rows *rows,
                      const struct expr_vec *registers)
{
    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        int64_t *n = agg_at(slot, rows, i);
        *n += agg_takes(argument, filter, row) && argument->i[row] != 0 ? 1 : 0;
    }
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    buf_append_varint(out, *(const uint64_t *)at);
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    (void)slot, (void)pool;
    uint64_t n = 0;
    bool good = agg_take_varint(in, &n);
    *(uint64_t *)at += n;
    return good;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)slot, (void)pool;
    *(uint64_t *)to += *(const uint64_t *)from;
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)slot, (void)arena;
    agg_result_int(out, *(const int64_t *)at);
}

const struct agg_operator agg_count_rows = {.bytes = sizeof(int64_t),
                                            .adds = true,
                                            .update = update_rows,
                                            .encode = encode,
                                            .decode = decode,
                                            .merge = merge,
                                            .result = result};

const struct agg_operator agg_count = {.bytes = sizeof(int64_t),
                                       .adds = true,
                                       .update = update_values,
                                       .encode = encode,
                                       .decode = decode,
                                       .merge = merge,
                                       .result = result};

const struct agg_operator agg_count_if = {.bytes = sizeof(int64_t),
                                          .adds = true,
                                          .update = update_if,
                                          .encode = encode,
                                          .decode = decode,
                                          .merge = merge,
                                          .result = result};
