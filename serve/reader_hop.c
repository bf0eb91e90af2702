/* Windows of a hop: each is put together from the panes it covers. Own header: reader_inner.h.
 *
 * Windows come in the order of their ends, and for each of them the rows of all its panes in the order
 * of the key columns: memory is one cursor per pane and source, whatever the number of keys. A row
 * costs as many merges as there are partials of its key in the window, size / slide times the number of
 * sources at most; the whole scan reads each partial once for every window it is in.
 *
 * Part k of a pane is in all of its windows but the first k (processor/node_window.c); a source whose
 * own watermark has let a window expire has no part in it. */
#include "processor/event_time.h"
#include "serve/reader_inner.h"

#include <stdlib.h>
#include <string.h>

struct reader_hop {
    struct view_snapshot *snapshot;
    const struct plan_view *view;
    struct row_finisher *finisher;
    struct reader_limits limits;
    struct view_panes_range range;
    struct view_cursor *finder; /* of windows that are there */
    struct view_panes *panes;   /* of the window at hand, or NULL */
    int64_t end;                /* of the window at hand */
    int64_t next_least;         /* the next window ends there or later */
    int64_t most;
    int64_t pane_found; /* by the finder, last */
    bool at_hand;       /* the partial below belongs to the next row */
    uint32_t source;
    const uint8_t *key; /* of a pane */
    const uint8_t *value;
    size_t key_len;
    size_t value_len;
    size_t row_len; /* of the row's key: window end, key columns */
    uint8_t prefix[LIMIT_TABLE_KEY_LEN];
    uint8_t row[LIMIT_TABLE_KEY_LEN];
};

/* The least window end >= t. */
static int64_t end_from(const struct plan_view *view, int64_t t)
{
    return event_time_end_before(view, t - 1) + view->slide_us;
}

int reader_hop_open(const struct reader_read *reading, struct row_finisher *finisher,
                    const struct reader_windows *windows, struct reader_hop **out, struct err *err)
{
    const int64_t bound = INT64_C(1) << 62;
    struct reader_hop *hop = xcalloc(1, sizeof *hop);
    hop->snapshot = reading->snapshot;
    hop->view = &reading->version->plan->views[reading->table];
    hop->finisher = finisher;
    hop->pane_found = INT64_MIN;
    hop->next_least = i64_max(windows->least, -bound);
    reader_limits_make(reading, &hop->limits);
    hop->most = i64_min(windows->most, hop->limits.shown);
    if (windows->prefix_len > 0) {
        memcpy(hop->prefix, windows->prefix, windows->prefix_len);
    }
    hop->range = (struct view_panes_range){
        .table = reading->table,
        .sources = reader_sources(reading, windows->prefix, windows->prefix_len),
        .prefix = hop->prefix,
        .prefix_len = windows->prefix_len};
    int rc =
        view_cursor_open(reading->snapshot, reading->table, hop->range.sources, &hop->finder, err);
    if (rc != 0) {
        reader_hop_close(hop);
        return rc;
    }
    *out = hop;
    return 0;
}

/* The first pane that ends at or after `least`: 1, 0, negative. */
static int find_pane(struct reader_hop *hop, int64_t least, int64_t *pane_end, struct err *err)
{
    uint8_t from[KAPPA_KEY_WINDOW_BYTES];
    uint32_t source = 0;
    const uint8_t *key = NULL;
    const uint8_t *value = NULL;
    size_t key_len = 0;
    size_t value_len = 0;
    if (hop->pane_found >= least) {
        *pane_end = hop->pane_found; /* the cursor goes forwards only */
        return 1;
    }
    store_i64_sortable(from, least);
    int rc = view_cursor_seek(hop->finder, from, sizeof from, err);
    if (rc >= 0) {
        rc = view_cursor_next(hop->finder, &source, &key, &key_len, &value, &value_len, err);
    }
    if (rc == 1 && key_len < KAPPA_KEY_WINDOW_BYTES + KAPPA_KEY_PART_BYTES) {
        return err_set(err, KE_CORRUPT, "table %s: a row's key does not decode",
                       hop->view->shape.name);
    }
    if (rc == 1) {
        *pane_end = load_i64_sortable(key);
        hop->pane_found = *pane_end;
    }
    return rc;
}

/* Goes on to the next window that has panes: 1, 0 at the end, negative. */
static int next_window(struct reader_hop *hop, struct err *err)
{
    const struct plan_view *view = hop->view;
    view_panes_close(hop->panes);
    hop->panes = NULL;
    int64_t end = end_from(view, hop->next_least);
    int64_t pane_end = 0;
    int rc = find_pane(hop, end - view->window_us + view->pane_us, &pane_end, err);
    if (rc != 1) {
        return rc;
    }
    end = i64_max(end, event_time_first_end(view, pane_end));
    if (end > hop->most) {
        return 0;
    }
    hop->end = end;
    hop->next_least = end + 1;
    hop->range.first = end - view->window_us + view->pane_us;
    hop->range.last = end;
    rc = view_panes_open(hop->snapshot, &hop->range, &hop->panes, err);
    return rc < 0 ? rc : 1;
}

static bool is_in_window(const struct reader_hop *hop)
{
    int64_t pane_end = load_i64_sortable(hop->key);
    int64_t part = load_u16_be(hop->key + hop->key_len - KAPPA_KEY_PART_BYTES);
    int64_t first = event_time_first_end(hop->view, pane_end) + part * hop->view->slide_us;
    bool expired = hop->limits.expired != NULL && hop->end <= hop->limits.expired[hop->source];
    return hop->end >= first && !expired;
}

/* The next partial of the window at hand that counts: 1, 0 at the window's end, negative. */
static int next_partial(struct reader_hop *hop, struct err *err)
{
    for (;;) {
        int rc = view_panes_next(hop->panes, &hop->source, &hop->key, &hop->key_len, &hop->value,
                                 &hop->value_len, err);
        if (rc != 1 || is_in_window(hop)) {
            return rc;
        }
    }
}

/* Does the partial at hand belong to the row that was begun? */
static bool same_row(const struct reader_hop *hop)
{
    return hop->key_len - KAPPA_KEY_PART_BYTES == hop->row_len &&
           memcmp(hop->key + KAPPA_KEY_WINDOW_BYTES, hop->row + KAPPA_KEY_WINDOW_BYTES,
                  hop->row_len - KAPPA_KEY_WINDOW_BYTES) == 0;
}

/* The first partial of a row: 1, 0 when there are no more, negative. */
static int row_find(struct reader_hop *hop, struct err *err)
{
    while (!hop->at_hand) {
        int rc = hop->panes == NULL ? next_window(hop, err) : 1;
        if (rc != 1) {
            return rc;
        }
        rc = next_partial(hop, err);
        if (rc < 0) {
            return rc;
        }
        hop->at_hand = rc == 1;
        if (rc == 0) {
            view_panes_close(hop->panes);
            hop->panes = NULL;
        }
    }
    return 1;
}

int reader_hop_next(struct reader_hop *hop, struct err *err)
{
    int rc = row_find(hop, err);
    if (rc != 1) {
        return rc;
    }
    hop->row_len = hop->key_len - KAPPA_KEY_PART_BYTES;
    store_i64_sortable(hop->row, hop->end);
    memcpy(hop->row + KAPPA_KEY_WINDOW_BYTES, hop->key + KAPPA_KEY_WINDOW_BYTES,
           hop->row_len - KAPPA_KEY_WINDOW_BYTES);
    row_finisher_begin(hop->finisher, hop->end, hop->row + KAPPA_KEY_WINDOW_BYTES,
                       hop->row_len - KAPPA_KEY_WINDOW_BYTES);
    while (hop->at_hand && same_row(hop)) {
        rc = row_finisher_add(hop->finisher, hop->value, hop->value_len, err);
        if (rc == 0) {
            rc = next_partial(hop, err);
        }
        if (rc < 0) {
            return rc;
        }
        hop->at_hand = rc == 1;
    }
    if (!hop->at_hand) {
        view_panes_close(hop->panes);
        hop->panes = NULL;
    }
    return 1;
}

void reader_hop_key(const struct reader_hop *hop, const uint8_t **key, size_t *len)
{
    *key = hop->row;
    *len = hop->row_len;
}

void reader_hop_close(struct reader_hop *hop)
{
    if (hop == NULL) {
        return;
    }
    view_panes_close(hop->panes);
    view_cursor_close(hop->finder);
    reader_limits_free(&hop->limits);
    free(hop);
}

/* ---- the newest window of a key */

/* The first window that the part of a pane is in, of those that are shown; false: none is. */
static bool window_of_part(const struct plan_view *view, const struct reader_limits *limits,
                           uint32_t source, int64_t pane_end, uint32_t part, int64_t *end)
{
    int64_t least = event_time_first_end(view, pane_end) + part * view->slide_us;
    if (limits->expired != NULL && limits->expired[source] != KAPPA_NO_TIME) {
        least = i64_max(least, end_from(view, limits->expired[source] + 1));
    }
    *end = least;
    return least <= limits->shown && least <= event_time_last_end(view, pane_end);
}

int reader_hop_newest(const struct reader_read *reading, const uint8_t *key, size_t len,
                      int64_t *end, struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    struct view_sources sources = reader_sources(reading, key, len);
    struct reader_limits limits;
    reader_limits_make(reading, &limits);
    int64_t below = limits.shown == INT64_MAX ? INT64_MAX : limits.shown + 1;
    int64_t newest_pane = INT64_MIN;
    int rc = 0;
    for (uint32_t s = sources.first; s < sources.behind && rc >= 0; s++) {
        for (uint32_t part = 0;; part++) {
            int64_t pane_end = 0;
            int64_t window = 0;
            rc = view_part_newest(reading->snapshot, reading->table, s, key, len, below, &part,
                                  &pane_end, err);
            if (rc != 1) {
                break;
            }
            if (!window_of_part(view, &limits, s, pane_end, part, &window) ||
                pane_end < newest_pane) {
                continue;
            }
            *end = pane_end > newest_pane ? window : i64_min(*end, window);
            newest_pane = pane_end;
        }
    }
    reader_limits_free(&limits);
    return rc < 0 ? rc : newest_pane != INT64_MIN;
}
