/* Two stored partials of a group become one that can be stored again: the states are decoded, merged, and
 * encoded as after a record. Interface: processor.h. */
#include "base/limits.h"
#include "processor/agg_state.h"
#include "processor/processor.h"

#include <stdlib.h>
#include <string.h>

struct row_merger {
    const struct plan *plan;
    struct agg_layout *layouts; /* per table */
    struct pool pool;
    struct arena memory;
};

struct row_merger *row_merger_new(const struct plan *plan)
{
    struct row_merger *m = xcalloc(1, sizeof *m);
    m->plan = plan;
    arena_init(&m->memory);
    pool_init(&m->pool);
    m->layouts = arena_calloc(&m->memory, (plan->table_count + 1) * sizeof *m->layouts);
    for (uint32_t i = 0; i < plan->view_count; i++) {
        const struct plan_view *view = &plan->views[i]; /* table i is its own */
        if (view->kind == PLAN_GROUP) {
            agg_layout_init(&m->layouts[i], &m->memory, view->aggregates, view->aggregate_count);
        }
    }
    return m;
}

void row_merger_free(struct row_merger *m)
{
    if (m == NULL) {
        return;
    }
    pool_close(&m->pool);
    arena_free(&m->memory);
    free(m);
}

int row_merger_merge(struct row_merger *m, uint32_t table, const uint8_t *a, size_t a_len,
                     const uint8_t *b, size_t b_len, struct buf *out, struct err *err)
{
    ASSERT_CMP(table, <, m->plan->view_count);
    const struct agg_layout *layout = &m->layouts[table];
    const char *name = m->plan->tables[table].shape.name;
    uint8_t *state = xcalloc(2, layout->bytes);
    uint8_t *part = state + layout->bytes;
    size_t before = out->len;
    int rc = agg_decode(layout, state, &m->pool, a, a_len, err);
    if (rc == 0) {
        rc = agg_decode(layout, part, &m->pool, b, b_len, err);
    }
    if (rc == 0) {
        agg_merge(layout, state, part, &m->pool);
        agg_encode(layout, state, out);
    } else {
        err_prefix(err, "table %s", name);
    }
    agg_state_free(layout, part, &m->pool);
    agg_state_free(layout, state, &m->pool);
    free(state);
    if (rc == 0 && out->len - before > LIMIT_ROW_BYTES) {
        rc = err_set(err, KE_LIMIT, "a row of table %s has %zu bytes, a row may have %d", name,
                     out->len - before, LIMIT_ROW_BYTES);
    }
    return rc;
}
