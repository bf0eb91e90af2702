/* A version's environments as a reader sees them: read-only, from any process and thread.
 *
 *     view_open -> view_snapshot_begin -> get, cursor... -> view_snapshot_end -> view_close
 *
 * A process opens an environment once and shares it (registry inside); map growth by the writer is
 * followed. Pointers into a snapshot are valid until it ends.
 */
#ifndef KAPPA_TABLE_VIEW_H
#define KAPPA_TABLE_VIEW_H

#include "base/err.h"
#include "table/store.h"

struct view;          /* all shards of one version */
struct view_snapshot; /* one read transaction per shard */
struct view_cursor;

/* dir: DATA/versions/PROCESSOR/N. NOT_FOUND when it is gone. */
int view_open(const char *dir, uint32_t shards, const struct kappa_table_shape *tables,
              uint32_t table_count, struct view **out, struct err *err) must_check;
void view_close(struct view *view);

int view_snapshot_begin(struct view *view, struct view_snapshot **out, struct err *err) must_check;
void view_snapshot_end(struct view_snapshot *snapshot);
/* Which commits it shows, one per shard: snapshots of a view with the same commits show the same. Returns
 * how many shards there are, at most LIMIT_SHARDS. */
uint32_t view_snapshot_commits(const struct view_snapshot *snapshot, uint64_t *commits);
/* The files have outgrown the map: the next snapshot must wait until all of this process have ended.
 * Who keeps one for long lets it go then. */
bool view_outgrown(const struct view *view);

/* 1 found, 0 not, negative error. key: behind the source prefix (window end, key columns). Source s
 * lives in shard s mod shards. */
int view_get(struct view_snapshot *snapshot, uint32_t table, uint32_t source, const uint8_t *key,
             size_t key_len, const uint8_t **value, size_t *value_len, struct err *err) must_check;
/* Window end of the newest window of these key columns in this source: 1, 0, negative. */
int view_newest(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                const uint8_t *key_columns, size_t len, int64_t *window_end,
                struct err *err) must_check;
/* In a table with history: the first window of these key columns with an end >= from: 1, 0,
 * negative. */
int view_window_from(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     const uint8_t *key_columns, size_t len, int64_t from, int64_t *window_end,
                     struct err *err) must_check;
/* The last window that any key has in this source, INT64_MIN: none. A table's is looked for once a commit:
 * a source whose last window is not after one that was found needs not be asked for its newest. */
int view_last_window(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     int64_t *window_end, struct err *err) must_check;
/* Rows stored in a table over all sources: partials, so at least as many as it has rows. */
uint64_t view_entries(struct view_snapshot *snapshot, uint32_t table);
/* The last one with an end < below. */
int view_window_below(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                      const uint8_t *key_columns, size_t len, int64_t below, int64_t *window_end,
                      struct err *err) must_check;
/* State and digests of a source as of the snapshot; false and zeros when it was never committed. */
bool view_source(struct view_snapshot *snapshot, uint32_t source, struct store_source *out);

/* Sources from first on and below behind. */
struct view_sources {
    uint32_t first;
    uint32_t behind;
};

/* A merged scan over the sources in the order of the key behind the source (window end, key
 * columns): each call of next gives one (source, key, value); equal keys come in ascending source
 * order. */
int view_cursor_open(struct view_snapshot *snapshot, uint32_t table, struct view_sources sources,
                     struct view_cursor **out, struct err *err) must_check;
/* Jumps on to the first row whose key is not below this one, which is above the last key given. */
int view_cursor_seek(struct view_cursor *cursor, const uint8_t *key, size_t len,
                     struct err *err) must_check;
/* 1 a row, 0 the end. key: behind the source prefix. */
int view_cursor_next(struct view_cursor *cursor, uint32_t *source, const uint8_t **key,
                     size_t *key_len, const uint8_t **value, size_t *value_len,
                     struct err *err) must_check;
void view_cursor_close(struct view_cursor *cursor);

/* Rows of several windows at once, as the panes of a hop window are read: in the order of (key columns
 * without the part, source, window end, part). Panes that are not there cost nothing. */
struct view_panes;

struct view_panes_range {
    uint32_t table;
    struct view_sources sources;
    int64_t first; /* window ends, inclusive */
    int64_t last;
    const uint8_t *prefix; /* the key columns begin with it; borrowed by the open only */
    size_t prefix_len;
};

int view_panes_open(struct view_snapshot *snapshot, const struct view_panes_range *range,
                    struct view_panes **out, struct err *err) must_check;
/* 1 a row, 0 the end. key: behind the source prefix: window end, key columns, part. */
int view_panes_next(struct view_panes *panes, uint32_t *source, const uint8_t **key,
                    size_t *key_len, const uint8_t **value, size_t *value_len,
                    struct err *err) must_check;
void view_panes_close(struct view_panes *panes);

/* Of the parts of a key's panes in a source, the first one >= *part that has any; its newest pane, and
 * with history its newest one below `below`: 1 (*part and *window_end are set), 0, negative. */
int view_part_newest(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     const uint8_t *key_columns, size_t len, int64_t below, uint32_t *part,
                     int64_t *window_end, struct err *err) must_check;

/* One dead or late record. Text and bytes are borrowed until the next call. */
struct view_dead {
    uint32_t source;
    int64_t offset;
    uint32_t view; /* table, or UINT32_MAX for the whole record */
    const char *reason;
    uint32_t reason_len;
    const uint8_t *bytes;
    uint32_t bytes_len;
};

enum view_kept { VIEW_DEAD, VIEW_LATE };

/* Calls fn for every such record, by source and offset; fn returns false to stop. */
int view_dead_each(struct view_snapshot *snapshot, enum view_kept what, uint32_t source_count,
                   bool (*fn)(void *ctx, const struct view_dead *dead), void *ctx,
                   struct err *err) must_check;

#endif
