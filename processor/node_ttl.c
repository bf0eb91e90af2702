/* Groups that go when nothing came for a time: WITH (ttl='1 h'). Own header: node.h.
 *
 * A group keeps the largest event time of its rows. It is gone when watermark >= time + ttl, and its
 * next row begins from zero: whether a commit had removed it by then or not, the row sees the same.
 * A row whose own time is that old and that finds no group is late: its group would be gone at once.
 *
 * The store keeps an index by time (shape.idle), and removes at each commit what is gone. */
#include "processor/event_time.h"
#include "processor/node.h"

#include <string.h>

/* The rows of [*from, behind) are applied, and the group has no rows. */
static void begin_again(struct processor *p, struct node_view *view, struct agg_entry *entry,
                        uint32_t *from, uint32_t behind)
{
    if (*from < behind) {
        node_aggregate_update(p, view, *from, behind);
        *from = behind;
    }
    agg_state_free(&view->layout, entry->state, &p->pool);
    memset(entry->state, 0, view->layout.bytes);
    entry->time = KAPPA_NO_TIME;
}

int node_ttl_apply(struct processor *p, struct node_view *view, struct err *err)
{
    struct node_chunk *chunk = &p->chunk;
    bool maybe_stored = chunk->source->parts[view->index].maybe_stored != KAPPA_NO_TIME;
    uint32_t from = 0; /* rows from here on are not applied yet */
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        bool made = false;
        struct agg_entry *entry = node_aggregate_entry(p, view, s, &made);
        int rc = made && maybe_stored ? node_aggregate_load(p, view, entry, err) : 0;
        if (rc < 0) {
            return rc;
        }
        int64_t limit = event_time_limit(chunk->watermark[row], view->plan->ttl_us);
        if (entry->time <= limit && entry->time != KAPPA_NO_TIME) {
            begin_again(p, view, entry, &from, kept);
        }
        if (entry->time == KAPPA_NO_TIME && chunk->event_time[row] <= limit) {
            node_window_late_row(p, view, row, chunk->event_time[row] + view->plan->ttl_us);
            continue;
        }
        entry->time = i64_max(entry->time, chunk->event_time[row]);
        agg_cache_touch(&view->cache, entry);
        p->keys.state[kept] = entry->state;
        chunk->selected[kept++] = row;
    }
    chunk->count = kept;
    node_aggregate_update(p, view, from, kept);
    return 0;
}
