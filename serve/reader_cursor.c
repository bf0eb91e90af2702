/* Rows of a table one after the other, in key order, all of them or a range. Own header:
 * reader_inner.h.
 *
 * The view's cursor gives partials: those of one key follow one another, by source. A row is whole
 * when the next key comes, or the end: then the next partial is at hand already.
 *
 * A range is kept by jumping. Keys are (window end, key columns). With the leading key columns given
 * and windows in front of them, each window is entered at these columns and left behind them: two
 * jumps a window instead of all its rows. */
#include "processor/key_codec.h"
#include "serve/reader_inner.h"

#include <stdlib.h>
#include <string.h>

/* What one source keeps for one key. Pointers live as long as the snapshot. */
struct partial {
    uint32_t source;
    const uint8_t *key; /* window end, key columns */
    const uint8_t *value;
    size_t key_len;
    size_t value_len;
};

struct reader_cursor {
    struct reader *reader;
    struct reader_version *version;
    uint32_t table;
    const struct plan_view *view;
    struct reader_read reading;
    struct view_cursor *partials;
    struct reader_hop *hop; /* of hop windows; then the rest below is not used */
    bool sessions;          /* stored rows may be parts of one session */
    struct row_finisher *finisher;
    struct partial row;  /* the first partial of the row given out last */
    struct partial next; /* behind that row, when at_hand */
    bool at_hand;
    uint32_t row_at; /* of the rows of this key: the next one */
    uint32_t row_count;
    int64_t window_most; /* of window tables */
    const uint8_t *only; /* rows of this key alone, borrowed; NULL: all */
    size_t only_len;
    size_t skip;       /* bytes of a key before its columns */
    bool filters;      /* of hop windows: rows are looked at one by one */
    size_t prefix_len; /* of leading key columns that are to be equal; 0: any */
    size_t low_len;    /* key columns from these on; 0: any */
    size_t high_len;   /* and below these; 0: any */
    uint8_t prefix[LIMIT_TABLE_KEY_LEN];
    uint8_t low[LIMIT_TABLE_KEY_LEN];
    uint8_t high[LIMIT_TABLE_KEY_LEN];
};

/* Where a partial lies: before the range (then *jump: from where to go on), in it, behind it. */
enum place { PLACE_BEFORE, PLACE_INSIDE, PLACE_BEHIND };

/* Where key columns lie: negative below the range, 0 in it, positive above. */
static int side_of(const struct reader_cursor *cursor, const uint8_t *columns, size_t len)
{
    if (cursor->low_len > 0 && bytes_order(columns, len, cursor->low, cursor->low_len) < 0) {
        return -1;
    }
    bool above =
        cursor->high_len > 0 && bytes_order(columns, len, cursor->high, cursor->high_len) >= 0;
    return above ? 1 : 0;
}

static enum place place_of(const struct reader_cursor *cursor, const struct partial *partial,
                           int64_t *jump_window)
{
    bool windowed = cursor->view->shape.windowed;
    int64_t window = windowed ? load_i64_sortable(partial->key) : 0;
    if (windowed && window > cursor->window_most) {
        return PLACE_BEHIND;
    }
    int side = side_of(cursor, partial->key + cursor->skip, partial->key_len - cursor->skip);
    if (side == 0) {
        return PLACE_INSIDE;
    }
    if (side > 0 && (!windowed || window == INT64_MAX)) {
        return PLACE_BEHIND;
    }
    *jump_window = side < 0 ? window : window + 1;
    return PLACE_BEFORE;
}

static int jump(struct reader_cursor *cursor, int64_t window, struct err *err)
{
    uint8_t key[KAPPA_KEY_WINDOW_BYTES + LIMIT_TABLE_KEY_LEN];
    store_i64_sortable(key, window);
    memcpy(key + cursor->skip, cursor->low, cursor->low_len);
    return view_cursor_seek(cursor->partials, key, cursor->skip + cursor->low_len, err);
}

/* The next partial of the range: 1, 0 at its end, negative. */
static int fetch(struct reader_cursor *cursor, struct partial *partial, struct err *err)
{
    for (;;) {
        int rc = view_cursor_next(cursor->partials, &partial->source, &partial->key,
                                  &partial->key_len, &partial->value, &partial->value_len, err);
        if (rc != 1) {
            return rc;
        }
        if (partial->key_len > LIMIT_TABLE_KEY_LEN || partial->key_len < cursor->skip) {
            return err_set(err, KE_CORRUPT, "table %s: a row's key does not decode",
                           cursor->view->shape.name);
        }
        int64_t window = 0;
        enum place place = place_of(cursor, partial, &window);
        if (place != PLACE_BEFORE) {
            return place == PLACE_INSIDE ? 1 : 0;
        }
        rc = jump(cursor, window, err);
        if (rc < 0) {
            return rc;
        }
    }
}

/* The first key columns that do not begin with the prefix: its last byte that is not 0xFF plus one.
 * There is one: key columns begin with a small tag. */
static void behind_prefix(struct reader_cursor *cursor)
{
    size_t len = cursor->prefix_len;
    while (len > 0 && cursor->prefix[len - 1] == 0xFF) {
        len--;
    }
    memcpy(cursor->high, cursor->prefix, len);
    cursor->high_len = len;
    if (len > 0) {
        cursor->high[len - 1]++;
    }
}

/* The bounds of the key columns as bytes. 0, or -KE_LIMIT when no key can be so long. */
static int bounds_make(struct reader_cursor *cursor, const struct reader_range *range)
{
    uint8_t *at = cursor->prefix;
    const uint8_t *end = cursor->prefix + LIMIT_GROUP_KEY_LEN;
    for (uint32_t i = 0; i < range->key_count && at != NULL; i++) {
        at = key_put_value(at, end, &range->keys[i]);
    }
    if (at == NULL || range->low_len > LIMIT_GROUP_KEY_LEN ||
        range->high_len > LIMIT_GROUP_KEY_LEN) {
        return -KE_LIMIT;
    }
    cursor->prefix_len = (size_t)(at - cursor->prefix);
    memcpy(cursor->low, cursor->prefix, cursor->prefix_len);
    cursor->low_len = cursor->prefix_len;
    behind_prefix(cursor);
    if (range->low_len > 0) {
        memcpy(cursor->low, range->low, range->low_len);
        cursor->low_len = range->low_len;
    }
    if (range->high_len > 0) {
        memcpy(cursor->high, range->high, range->high_len);
        cursor->high_len = range->high_len;
    }
    cursor->filters = range->low_len > 0 || range->high_len > 0;
    return 0;
}

/* 1: the range holds something, 0: nothing can be in it. */
static int range_begin(struct reader_cursor *cursor, const struct reader_range *range,
                       struct err *err)
{
    struct reader_limits limits;
    reader_limits_make(&cursor->reading, &limits);
    cursor->window_most = limits.shown;
    reader_limits_free(&limits);
    if (range == NULL) {
        return 1;
    }
    bool windowed = cursor->view->shape.windowed;
    cursor->window_most = i64_min(cursor->window_most, range->window_most);
    if (windowed && range->window_least > range->window_most) {
        return 0;
    }
    if (range->from != NULL) {
        int rc = view_cursor_seek(cursor->partials, range->from, range->from_len, err);
        return rc < 0 ? rc : 1;
    }
    bool from_start = !windowed || range->window_least == INT64_MIN;
    int rc = from_start && cursor->low_len == 0 ? 0 : jump(cursor, range->window_least, err);
    return rc < 0 ? rc : 1;
}

static int hop_begin(struct reader_cursor *cursor, const struct reader_range *range,
                     struct err *err)
{
    struct reader_windows windows = {.least = INT64_MIN, .most = INT64_MAX};
    if (range != NULL) {
        if (bounds_make(cursor, range) != 0 || range->window_least > range->window_most) {
            return 0;
        }
        windows = (struct reader_windows){range->window_least, range->window_most, cursor->prefix,
                                          cursor->prefix_len};
        if (range->from != NULL) {
            windows.least = load_i64_sortable(range->from);
        }
    }
    return reader_hop_open(&cursor->reading, cursor->finisher, &windows, &cursor->hop, err);
}

/* Stands on the first partial. */
static int partials_begin(struct reader_cursor *cursor, const struct reader_range *range,
                          struct err *err)
{
    bool keys = range != NULL && cursor->view->kind == PLAN_GROUP;
    if (keys && bounds_make(cursor, range) != 0) {
        return 0;
    }
    int rc = view_cursor_open(cursor->reading.snapshot, cursor->table,
                              reader_sources(&cursor->reading, cursor->prefix, cursor->prefix_len),
                              &cursor->partials, err);
    if (rc == 0) {
        rc = range_begin(cursor, range, err);
    }
    if (rc == 1) {
        rc = fetch(cursor, &cursor->next, err);
    }
    cursor->at_hand = rc == 1;
    return rc < 0 ? rc : 0;
}

int reader_cursor_open(struct reader *reader, const struct reader_read *reading,
                       const struct reader_range *range, struct reader_cursor **out,
                       struct err *err)
{
    struct reader_cursor *cursor = xcalloc(1, sizeof *cursor);
    cursor->reader = reader;
    cursor->version = reading->version;
    cursor->table = reading->table;
    cursor->view = &reading->version->plan->views[reading->table];
    cursor->skip = cursor->view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0;
    cursor->reading = *reading;
    cursor->sessions = reader_session_merges(reading->version, reading->table);
    cursor->finisher = reader_finisher_take(reader, reading->version, reading->table);
    int rc = cursor->view->window == PLAN_WINDOW_HOP ? hop_begin(cursor, range, err)
                                                     : partials_begin(cursor, range, err);
    if (rc < 0) {
        reader_cursor_close(cursor);
        return rc;
    }
    *out = cursor;
    return 0;
}

/* Adds the partials of the row at hand, up to the next row. */
static int row_merge(struct reader_cursor *cursor, struct err *err)
{
    struct partial *next = &cursor->next;
    const struct partial *row = &cursor->row;
    bool windowed = cursor->view->shape.windowed;
    cursor->row = *next;
    row_finisher_begin(cursor->finisher, windowed ? load_i64_sortable(row->key) : 0,
                       row->key + cursor->skip, row->key_len - cursor->skip);
    bool same = true;
    while (same) {
        int rc = row_finisher_add(cursor->finisher, next->value, next->value_len, err);
        if (rc == 0) {
            rc = fetch(cursor, next, err);
        }
        if (rc < 0) {
            return rc;
        }
        cursor->at_hand = rc == 1;
        same = cursor->at_hand && cursor->view->kind == PLAN_GROUP &&
               next->key_len == row->key_len && memcmp(next->key, row->key, row->key_len) == 0;
    }
    return 0;
}

/* The next session whose last part is met: 1, 0, negative. */
static int session_merge(struct reader_cursor *cursor, struct err *err)
{
    while (cursor->at_hand) {
        cursor->row = cursor->next;
        const struct partial *row = &cursor->row;
        if (row->value_len < sizeof(int64_t)) {
            return err_set(err, KE_CORRUPT, "table %s: a session does not decode",
                           cursor->view->shape.name);
        }
        int rc = fetch(cursor, &cursor->next, err);
        if (rc < 0) {
            return rc;
        }
        cursor->at_hand = rc == 1;
        rc = reader_session_row(&cursor->reading, cursor->finisher, row->source, row->key,
                                row->key_len, load_i64_sortable(row->value), err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* The next row of hop windows within the bounds: 1, 0, negative. */
static int hop_merge(struct reader_cursor *cursor, struct err *err)
{
    int rc = cursor->hop == NULL ? 0 : reader_hop_next(cursor->hop, err);
    while (rc == 1 && cursor->filters) {
        const uint8_t *key = NULL;
        size_t len = 0;
        reader_hop_key(cursor->hop, &key, &len);
        if (side_of(cursor, key + cursor->skip, len - cursor->skip) == 0) {
            break;
        }
        rc = reader_hop_next(cursor->hop, err);
    }
    return rc;
}

static bool is_only(const struct reader_cursor *cursor)
{
    const struct partial *next = &cursor->next;
    return bytes_order(next->key, next->key_len, cursor->only, cursor->only_len) == 0;
}

int reader_cursor_only(struct reader_cursor *cursor, const uint8_t *key, size_t len,
                       struct err *err)
{
    ASSERT(cursor->hop == NULL);
    ASSERT(!cursor->sessions);
    cursor->only = key;
    cursor->only_len = len;
    cursor->row_at = cursor->row_count;
    if (!cursor->at_hand || bytes_order(cursor->next.key, cursor->next.key_len, key, len) >= 0) {
        return 0;
    }
    int rc = view_cursor_seek(cursor->partials, key, len, err);
    if (rc == 0) {
        rc = fetch(cursor, &cursor->next, err);
    }
    cursor->at_hand = rc == 1;
    return rc < 0 ? rc : 0;
}

/* Merges the next row in the finisher: 1, 0 at the end, negative. */
static int merge_next(struct reader_cursor *cursor, struct err *err)
{
    if (cursor->view->window == PLAN_WINDOW_HOP) {
        return hop_merge(cursor, err);
    }
    if (cursor->sessions) {
        return session_merge(cursor, err);
    }
    if (!cursor->at_hand || (cursor->only != NULL && !is_only(cursor))) {
        return 0;
    }
    int rc = row_merge(cursor, err);
    return rc < 0 ? rc : 1;
}

int reader_cursor_next(struct reader_cursor *cursor, const struct kappa_value **values,
                       struct err *err)
{
    for (;;) {
        if (cursor->row_at == cursor->row_count) {
            int rc = merge_next(cursor, err);
            if (rc != 1) {
                return rc;
            }
            cursor->row_at = 0;
            cursor->row_count = row_finisher_rows(cursor->finisher);
        }
        while (cursor->row_at < cursor->row_count) {
            int rc = row_finisher_row(cursor->finisher, cursor->row_at++, values, err);
            if (rc != 0) {
                return rc; /* 0: HAVING refuses it */
            }
        }
    }
}

void reader_cursor_key(const struct reader_cursor *cursor, uint32_t *source, const uint8_t **key,
                       size_t *len)
{
    *source = cursor->row.source;
    *key = cursor->row.key;
    *len = cursor->row.key_len;
    if (cursor->hop != NULL) {
        *source = 0;
        reader_hop_key(cursor->hop, key, len);
    }
}

uint32_t reader_cursor_number(const struct reader_cursor *cursor)
{
    ASSERT_CMP(cursor->row_at, >, 0);
    return cursor->row_at - 1;
}

void reader_cursor_close(struct reader_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    view_cursor_close(cursor->partials);
    reader_hop_close(cursor->hop);
    reader_finisher_give(cursor->reader, cursor->version, cursor->table, cursor->finisher);
    free(cursor);
}
