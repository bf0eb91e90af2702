/* Sessions of one key that several sources have seen a part of. Own header: reader_inner.h.
 *
 * A source keeps the sessions of its own events. Two sessions of different sources that overlap are
 * one, and so is whatever overlaps with either of them in yet another source. The history index finds
 * them by key, so that nothing else is read. Their states are merged in the order of (source, end). */
#include "serve/reader_inner.h"

#include <stdlib.h>
#include <string.h>

struct part {
    uint32_t source;
    int64_t start;
    int64_t end;
};

struct parts {
    struct part *list;
    size_t count;
    size_t capacity;
};

/* The key columns behind room for a window end. */
struct session_key {
    uint8_t bytes[LIMIT_TABLE_KEY_LEN + KAPPA_KEY_WINDOW_BYTES];
    size_t len; /* of all */
};

static const uint8_t *columns_of(const struct session_key *key)
{
    return key->bytes + KAPPA_KEY_WINDOW_BYTES;
}

static size_t columns_len(const struct session_key *key)
{
    return key->len - KAPPA_KEY_WINDOW_BYTES;
}

static void parts_add(struct parts *parts, uint32_t source, int64_t start, int64_t end)
{
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->list[i].source == source && parts->list[i].end == end) {
            return;
        }
    }
    if (parts->count == parts->capacity) {
        parts->capacity = parts->capacity == 0 ? 8 : parts->capacity * 2;
        parts->list = xrealloc(parts->list, parts->capacity * sizeof *parts->list);
    }
    parts->list[parts->count++] = (struct part){source, start, end};
}

/* The stored bytes of a session that the index names. */
static int part_read(const struct reader_read *reading, struct session_key *key, uint32_t source,
                     int64_t end, const uint8_t **value, size_t *len, struct err *err)
{
    store_i64_sortable(key->bytes, end);
    int rc =
        view_get(reading->snapshot, reading->table, source, key->bytes, key->len, value, len, err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0 || *len < sizeof(int64_t)) {
        return err_set(err, KE_CORRUPT, "table %s: a session does not decode",
                       reading->version->plan->views[reading->table].shape.name);
    }
    return 0;
}

/* Adds the sessions of a source that overlap with [start, end). */
static int overlapping(const struct reader_read *reading, struct session_key *key, uint32_t source,
                       int64_t start, int64_t end, struct parts *parts, struct err *err)
{
    int64_t from = start + 1;
    for (;;) {
        int64_t other_end = 0;
        const uint8_t *value = NULL;
        size_t len = 0;
        int rc = view_window_from(reading->snapshot, reading->table, source, columns_of(key),
                                  key->len - KAPPA_KEY_WINDOW_BYTES, from, &other_end, err);
        if (rc != 1) {
            return rc;
        }
        rc = part_read(reading, key, source, other_end, &value, &len, err);
        if (rc < 0) {
            return rc;
        }
        int64_t other_start = load_i64_sortable(value);
        if (other_start >= end) {
            return 0;
        }
        parts_add(parts, source, other_start, other_end);
        from = other_end + 1;
    }
}

/* Adds what overlaps with the parts in other sources, until there is no more. */
static int connect(const struct reader_read *reading, struct session_key *key, struct parts *parts,
                   struct err *err)
{
    const struct reader_version *version = reading->version;
    uint32_t input = version->plan->views[reading->table].input;
    for (size_t i = 0; i < parts->count; i++) {
        for (uint32_t s = version->input_first[input]; s < version->input_first[input + 1]; s++) {
            struct part part = parts->list[i];
            int rc = s == part.source
                         ? 0
                         : overlapping(reading, key, s, part.start, part.end, parts, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int compare_parts(const void *a, const void *b)
{
    const struct part *left = a;
    const struct part *right = b;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    return (left->end > right->end) - (left->end < right->end);
}

/* Merges the parts in the finisher, whose row ends at the last of their ends. */
static int merge(const struct reader_read *reading, struct session_key *key, struct parts *parts,
                 struct row_finisher *finisher, struct err *err)
{
    int64_t end = INT64_MIN;
    for (size_t i = 0; i < parts->count; i++) {
        end = i64_max(end, parts->list[i].end);
    }
    qsort(parts->list, parts->count, sizeof *parts->list, compare_parts);
    row_finisher_begin(finisher, end, columns_of(key), key->len - KAPPA_KEY_WINDOW_BYTES);
    int rc = 0;
    for (size_t i = 0; i < parts->count && rc == 0; i++) {
        const uint8_t *value = NULL;
        size_t len = 0;
        rc = part_read(reading, key, parts->list[i].source, parts->list[i].end, &value, &len, err);
        if (rc == 0) {
            rc = row_finisher_add(finisher, value, len, err);
        }
    }
    return rc;
}

bool reader_session_merges(const struct reader_version *version, uint32_t table)
{
    const struct plan_view *view = &version->plan->views[table];
    return view->window == PLAN_WINDOW_SESSION &&
           version->input_first[view->input + 1] - version->input_first[view->input] > 1 &&
           plan_view_keyed(version->plan, view) == PLAN_NONE; /* else they are in one partition */
}

/* False: the key is longer than any that is stored. */
static bool key_make(struct session_key *key, const uint8_t *columns, size_t len)
{
    key->len = KAPPA_KEY_WINDOW_BYTES + len;
    if (key->len > sizeof key->bytes) {
        return false;
    }
    memset(key->bytes, 0, KAPPA_KEY_WINDOW_BYTES);
    if (len > 0) {
        memcpy(key->bytes + KAPPA_KEY_WINDOW_BYTES, columns, len);
    }
    return true;
}

int reader_session_row(const struct reader_read *reading, struct row_finisher *finisher,
                       uint32_t source, const uint8_t *row_key, size_t row_len, int64_t start,
                       struct err *err)
{
    struct session_key key;
    struct parts parts = {0};
    int64_t end = load_i64_sortable(row_key);
    if (!key_make(&key, row_key + KAPPA_KEY_WINDOW_BYTES, row_len - KAPPA_KEY_WINDOW_BYTES)) {
        return 0;
    }
    parts_add(&parts, source, start, end);
    int rc = connect(reading, &key, &parts, err);
    bool last = true;
    for (size_t i = 1; i < parts.count; i++) {
        const struct part *part = &parts.list[i];
        last = last && (part->end < end || (part->end == end && part->source < source));
    }
    if (rc == 0 && last) {
        rc = merge(reading, &key, &parts, finisher, err);
        rc = rc == 0 ? 1 : rc;
    }
    free(parts.list);
    return rc;
}

/* The session of the key that ends last before `below`, as the only part: 1, 0, negative. */
static int find_newest(const struct reader_read *reading, struct session_key *key, int64_t below,
                       struct parts *parts, struct err *err)
{
    struct view_sources sources = reader_sources(reading, columns_of(key), columns_len(key));
    struct part newest = {.end = INT64_MIN};
    for (uint32_t s = sources.first; s < sources.behind; s++) {
        int64_t end = 0;
        int rc = view_window_below(reading->snapshot, reading->table, s, columns_of(key),
                                   key->len - KAPPA_KEY_WINDOW_BYTES, below, &end, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == 1 && end > newest.end) {
            newest = (struct part){.source = s, .end = end};
        }
    }
    if (newest.end == INT64_MIN) {
        return 0;
    }
    const uint8_t *value = NULL;
    size_t len = 0;
    int rc = part_read(reading, key, newest.source, newest.end, &value, &len, err);
    if (rc < 0) {
        return rc;
    }
    parts_add(parts, newest.source, load_i64_sortable(value), newest.end);
    return 1;
}

/* The sessions of the key that hold the time: 1, 0 when there are none, negative. */
static int find_at(const struct reader_read *reading, struct session_key *key, int64_t at_us,
                   struct parts *parts, struct err *err)
{
    struct view_sources sources = reader_sources(reading, columns_of(key), columns_len(key));
    for (uint32_t s = sources.first; s < sources.behind; s++) {
        int64_t end = 0;
        const uint8_t *value = NULL;
        size_t len = 0;
        int rc = view_window_from(reading->snapshot, reading->table, s, columns_of(key),
                                  key->len - KAPPA_KEY_WINDOW_BYTES, at_us + 1, &end, err);
        if (rc == 0) {
            continue;
        }
        rc = rc < 0 ? rc : part_read(reading, key, s, end, &value, &len, err);
        if (rc < 0) {
            return rc;
        }
        if (load_i64_sortable(value) <= at_us) {
            parts_add(parts, s, load_i64_sortable(value), end);
        }
    }
    return parts->count > 0;
}

/* The parts of the session that is wanted and may be shown: 1, 0 when there is none, negative. */
static int find_shown(const struct reader_read *reading, struct session_key *key, int64_t at_us,
                      int64_t shown, struct parts *parts, struct err *err)
{
    bool merges = reader_session_merges(reading->version, reading->table);
    int64_t below = shown == INT64_MAX ? INT64_MAX : shown + 1;
    for (;;) {
        parts->count = 0;
        int rc = at_us == KAPPA_NO_TIME ? find_newest(reading, key, below, parts, err)
                                        : find_at(reading, key, at_us, parts, err);
        if (rc != 1) {
            return rc;
        }
        below = parts->list[0].end;
        rc = merges ? connect(reading, key, parts, err) : 0;
        int64_t end = INT64_MIN;
        for (size_t i = 0; i < parts->count; i++) {
            end = i64_max(end, parts->list[i].end);
        }
        if (rc < 0 || end <= shown) {
            return rc < 0 ? rc : 1;
        }
        if (at_us != KAPPA_NO_TIME) {
            return 0; /* it may still change */
        }
    }
}

int reader_session_get(const struct reader_read *reading, struct row_finisher *finisher,
                       const uint8_t *columns, size_t len, int64_t at_us, struct err *err)
{
    const int64_t bound = INT64_C(1) << 62;
    struct reader_limits limits;
    struct session_key key;
    struct parts parts = {0};
    if (!key_make(&key, columns, len) ||
        (at_us != KAPPA_NO_TIME && (at_us <= -bound || at_us >= bound))) {
        return 0;
    }
    reader_limits_make(reading, &limits);
    int rc = find_shown(reading, &key, at_us, limits.shown, &parts, err);
    if (rc == 1) {
        rc = merge(reading, &key, &parts, finisher, err);
        rc = rc < 0 ? rc : 1;
    }
    reader_limits_free(&limits);
    free(parts.list);
    return rc;
}
