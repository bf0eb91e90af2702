/* What the operators (node_*.c) share: a chunk of decoded rows on its way through one view.
 *
 *     for each chunk of a source:          decode, event time (processor.c)
 *         for each view of its input:
 *             node_window_apply            windows or panes of rows
 *             expr_run                     all expressions of the view's row program
 *             node_filter_apply            WHERE
 *             node_filter_errors           rows with an error that matters leave as dead records
 *             node_aggregate_apply  or  node_append_apply
 *
 * node_aggregate_apply: late rows leave; keys; entries of the cache; states are updated. Groups with
 * a ttl (node_ttl.c) and sessions (node_session.c) update states in runs: rows up to one that ends or
 * joins states, then the others.
 *
 * A chunk has NODE_CHUNK rows at most, so that its columns stay in the L2 cache; `selected` holds
 * the numbers of the rows that are still on their way, ascending.
 *
 * Everything here belongs to one processor and one thread. */
#ifndef KAPPA_PROCESSOR_NODE_H
#define KAPPA_PROCESSOR_NODE_H

#include "include/kappa/record.h"
#include "processor/agg_cache.h"
#include "processor/dead.h"
#include "processor/decode.h"
#include "processor/key_index.h"
#include "processor/node_keyed.h"
#include "processor/processor.h"

#define NODE_CHUNK 1024

/* Rows of an append view that wait for the commit, of one source: ascending offsets. */
struct node_pending {
    struct buf bytes; /* encoded rows, one behind the other */
    int64_t *offsets;
    uint32_t *numbers; /* of rows that a plugin made */
    size_t *ends;      /* in bytes */
    size_t count;
    size_t capacity;
};

/* This record was the first behind which windows were closed that end up to the limit. */
struct node_closing {
    int64_t limit;
    int64_t offset;
};

/* What a view knows of one source. */
struct node_part {
    /* Window ends up to here may have rows in the store that are not in the cache; KAPPA_NO_TIME:
     * none may. Tables without windows have one window, whose end is 0. */
    int64_t maybe_stored;
    int64_t closed;    /* window ends (with ttl: times) up to here were let go at a commit */
    int64_t forgotten; /* ... and without one, because they have expired */
    int64_t oldest;    /* no row in the cache has a window that ended before */
    int64_t expired;   /* window ends up to here are gone from the store, as of the last commit */
    /* Window ends of the entries that the cache has got since the last commit: none is outside. */
    int64_t made_first;
    int64_t made_last;
    int64_t late_part; /* of hops: the largest part of a pane that a row went to since the start */
    struct node_pending pending;
    /* Views that emit: messages are made of the windows that end up to `emitted`; the others that are
     * closed end above it and not above the newest closing. Ascending. */
    int64_t emitted;
    int64_t next_end; /* a limit below it closes nothing new */
    struct node_closing *closings;
    size_t closing_count;
    size_t closing_capacity;
};

struct node_source {
    bool open;
    uint32_t input;
    uint32_t partition;  /* of the topic */
    uint32_t partitions; /* that it has */
    struct kappa_source_state state;
    int64_t age_us; /* for processor_times (node_peek.c): INT64_MAX before there is an event */
    struct node_part *parts; /* per view of the plan; those of other inputs are unused */
    int64_t taken_below;     /* records below this offset ... */
    const int64_t *taken; /* ... change no window that ends before, per table; NULL: none is so */
};

/* A register that must hold no error where its filter is true. */
struct node_check {
    uint32_t reg;
    uint32_t filter;     /* PLAN_NONE: always */
    uint32_t text_limit; /* bytes of a text that the view keeps; UINT32_MAX: any */
    const char *name; /* of the key or output column, for the reason; NULL: an aggregate's part */
};

struct node_view {
    const struct plan_view *plan;
    uint32_t index;
    uint32_t table;                   /* of the plan, where its rows are */
    struct expr_machine machine;      /* its column registers are the decoder's */
    struct node_operator **operators; /* per phase */
    struct node_check *checks;
    uint32_t check_count;
    /* PLAN_GROUP */
    struct agg_layout layout;
    struct agg_cache cache;
    struct agg_layout heads; /* of sessions: what an entry of the cache holds */
    size_t forget_count;     /* entries from which on it is worth while to look for expired ones */
    struct kappa_value *values; /* of the message being made, per column of its topic; or NULL */
    struct node_final *final;   /* of views that emit; else NULL */
};

struct node_chunk {
    uint32_t source_index;
    struct node_source *source;
    uint32_t n;
    const struct kappa_record *records[NODE_CHUNK]; /* per row */
    bool deleted
        [NODE_CHUNK]; /* of an input with a primary key or tombstones: the row is gone; only its key
                                 columns, and no event time, are there */
    bool gone[NODE_CHUNK];         /* upsert views: deleted, or WHERE is not true */
    int64_t watermark[NODE_CHUNK]; /* behind the row, if the input has event time */
    const int64_t *event_time;     /* per row, or NULL */
    int64_t offset[NODE_CHUNK];    /* per row: of its record */
    uint32_t number[NODE_CHUNK];   /* rows that a plugin made: number among those of the record */
    uint32_t selected[NODE_CHUNK];
    uint32_t count; /* selected */
};

/* Scratch of node_aggregate: keys and states of the selected rows. */
struct node_keys {
    uint8_t *bytes; /* NODE_CHUNK keys of at most LIMIT_TABLE_KEY_LEN bytes */
    uint32_t start[NODE_CHUNK + 1];
    uint64_t hash[NODE_CHUNK];
    int64_t window_end[NODE_CHUNK];
    uint8_t *state[NODE_CHUNK];
};

/* A plugin at work: rows go in, rows of its own come out. */
struct node_plugin {
    struct processor *p;
    const struct plan_plugin *plan;
    const struct kappa_plugin *code; /* NULL: not open */
    void *instance;
    struct node_keyed keyed;    /* its state */
    struct key_index index;     /* of what has changed in it, when it is scanned */
    struct kappa_value *values; /* of the event */
    struct expr_vec *columns;   /* of the rows it made */
    int64_t *event_time;        /* of these */
    struct arena texts;         /* their bytes */
    struct node_chunk made;
    struct node_chunk aside; /* the input's chunk, while views run */
    uint32_t row;            /* of the event */
    uint32_t emitted;        /* for it */
    struct err *err;
    int rc; /* of what failed in a call of the plugin */
};

struct processor {
    uint32_t magic;
    struct processor_options options;
    struct arena memory;       /* lives as long as the processor */
    struct decoder **decoders; /* per input of the plan */
    struct node_view *views;   /* per view of the plan */
    struct node_plugin *plugins;
    struct node_source *sources;
    uint32_t source_count; /* size of the array; unused numbers are not open */
    struct pool pool;      /* rows of all views */
    struct dead_list dead;
    struct dead_list late; /* rows to keep */
    struct node_chunk chunk;
    struct node_keys keys;
    struct buf row;       /* the row being encoded */
    size_t pending_bytes; /* of append rows */
    uint64_t loads;
    uint64_t evictions;
    bool unflushed;    /* applied something since the last flush */
    bool emits;        /* some view does */
    struct err excess; /* of dead records; code 0: none */
};

/* A row of the chunk becomes a dead record of this view. */
void node_refuse(struct processor *p, const struct node_view *view, uint32_t row,
                 const char *reason);

void node_filter_open(struct processor *p, struct node_view *view);
/* WHERE: keeps the rows where the register is true; an error makes a dead record. PLAN_NONE: all. */
void node_filter_apply(struct processor *p, const struct node_view *view, uint32_t reg);
/* Both, of upsert views: rows that are deleted or that WHERE refuses stay, marked as gone. */
void node_filter_upsert(struct processor *p, const struct node_view *view);
/* Drops rows that have an error in a key, an argument or a filter. */
void node_filter_errors(struct processor *p, const struct node_view *view);

/* Fills the window registers. */
void node_window_apply(struct processor *p, struct node_view *view);
/* Late rows leave the selection. */
void node_window_late(struct processor *p, const struct node_view *view);
/* Behind it: leaves out rows whose windows were taken over (processor_source_take). */
void node_window_taken(struct processor *p, struct node_view *view);
/* The row is late: it is counted, and kept if the input says so. */
void node_window_late_row(struct processor *p, const struct node_view *view, uint32_t row,
                          int64_t window_end);

/* The watermark of a source as of what was applied. */
int64_t node_watermark(const struct processor *p, const struct node_source *source);
/* Rows whose time is at or below it are gone at this watermark; KAPPA_NO_TIME: none. */
int64_t node_expired(const struct node_view *view, int64_t watermark);

void node_aggregate_open(struct processor *p, struct node_view *view);
void node_aggregate_close(struct node_view *view);
/* A source begins (again) here. */
void node_aggregate_restore(const struct processor *p, const struct node_view *view,
                            struct node_source *source);
int node_aggregate_apply(struct processor *p, struct node_view *view, struct err *err);
int node_aggregate_flush(struct processor *p, const struct node_view *view,
                         const struct kappa_change_sink *sink, struct err *err);
/* The flush is stored: lets go of closed windows. */
void node_aggregate_committed(struct processor *p, struct node_view *view);
/* Evicts until the pool has at most `budget` bytes, or the view has nothing more to give. */
void node_aggregate_evict(struct processor *p, struct node_view *view, size_t budget);

/* ---- Shared by node_aggregate.c, node_ttl.c and node_session.c. */

/* Gets entries of keys [0, chunk.count) into the processor's caches. */
void node_aggregate_prefetch(struct processor *p, const struct node_view *view);
/* The entry of key s, made if it was not there; *made says so. */
struct agg_entry *node_aggregate_entry(struct processor *p, struct node_view *view, uint32_t s,
                                       bool *made);
/* Reads the row's stored state. */
int node_aggregate_load(struct processor *p, struct node_view *view, struct agg_entry *entry,
                        struct err *err);
/* Feeds rows [from, behind) of the selection to keys.state. */
void node_aggregate_update(struct processor *p, struct node_view *view, uint32_t from,
                           uint32_t behind);
int node_aggregate_expire(struct processor *p, const struct node_view *view,
                          const struct kappa_change_sink *sink, struct err *err);
/* The row in p->row is too long for the store. */
int node_aggregate_too_long(const struct processor *p, const struct node_view *view,
                            struct err *err);

/* ---- node_ttl.c: groups that go when nothing came for a time. Keys are made. */

int node_ttl_apply(struct processor *p, struct node_view *view, struct err *err);

/* ---- node_session.c */

void node_session_open(struct processor *p, struct node_view *view);
int node_session_apply(struct processor *p, struct node_view *view, struct err *err);
int node_session_flush(struct processor *p, const struct node_view *view,
                       const struct kappa_change_sink *sink, struct err *err);
/* The dirty sessions are clean; before the cache is told. */
void node_session_committed(struct processor *p, struct node_view *view);
/* For agg_cache_drop_if: lets go of the sessions that end at or before the limit; says whether none
 * is left. */
bool node_session_closed(struct processor *p, struct node_view *view, struct agg_entry *entry,
                         int64_t limit);
/* The newest session of an entry. */
int64_t node_session_newest(const struct agg_entry *entry);
/* The session of a key (source, key columns) that holds a time which no event is behind, or with
 * KAPPA_NO_TIME its newest one: 1 and its value, appended as stored, 0, negative. */
int node_session_peek(struct processor *p, struct node_view *view, uint32_t source,
                      const uint8_t *key, size_t len, int64_t at_us, int64_t *end,
                      struct buf *value, struct err *err);

void node_append_apply(struct processor *p, const struct node_view *view);
/* Keeps bytes [start, now) of the pending row of this record; number: among the rows of it. */
void node_append_keep(struct processor *p, struct node_pending *pending, size_t start,
                      int64_t offset, uint32_t number);
int node_append_flush(struct processor *p, const struct node_view *view,
                      const struct kappa_change_sink *sink, struct err *err);
void node_append_committed(struct processor *p, const struct node_view *view);
void node_append_close(struct node_part *part);

/* What stands between two phases. Lives in the processor's memory. */
struct node_operator {
    const struct plan_operator *plan;
    struct node_keyed keyed;
    struct over_shape *shape;     /* OVER */
    uint32_t *aggregates;         /* OVER, per function: its number among the aggregates */
    const enum kappa_type *types; /* LOOKUP: of the values */
    int64_t time_unit_us;         /* LOOKUP as of a time: what its times count */
};

struct node_operator *node_over_open(struct processor *p, const struct node_view *view,
                                     const struct plan_operator *plan);
int node_over_apply(struct processor *p, struct node_view *view, struct node_operator *op,
                    struct err *err);
struct node_operator *node_lookup_open(struct processor *p, const struct node_view *view,
                                       const struct plan_operator *plan);
int node_lookup_apply(struct processor *p, struct node_view *view, struct node_operator *op,
                      struct err *err);

/* A message before it has bytes. */
struct node_message {
    const struct plan_topic *topic;
    const struct kappa_value *values;  /* per column of the topic */
    const struct kappa_record *record; /* whose headers it keeps, if the topic does; or NULL */
    int64_t time_ms;
    int64_t offset; /* of the record that made it */
    uint32_t number;
};

/* node_message.c: keeps it until the commit. False: it cannot be one; *reason says why. */
bool node_message_keep(struct processor *p, struct node_pending *pending,
                       const struct node_message *message, struct buf *reason);

/* INSERT INTO: messages wait for the commit, as the rows of append views do. */
void node_topic_open(struct processor *p, struct node_view *view);
void node_topic_apply(struct processor *p, const struct node_view *view);
int node_topic_flush(struct processor *p, const struct node_view *view,
                     const struct kappa_change_sink *sink, struct err *err);

/* ---- node_final.c: rows of closed windows become messages. */

void node_final_open(struct processor *p, struct node_view *view);
void node_final_close(struct node_view *view);
void node_final_restore(const struct processor *p, const struct node_view *view,
                        struct node_source *source);
void node_final_part_close(struct node_part *part);
/* The watermark of the source has risen with the record at this offset. */
void node_final_advance(struct processor *p, struct node_source *source, int64_t offset);
/* Makes the messages of all windows that are closed and not emitted. */
int node_final_emit(struct processor *p, struct node_view *view, struct err *err) must_check;
/* The same when it is time to, before a flush asks for it. */
int node_final_due(struct processor *p, struct node_view *view, struct err *err) must_check;

/* A row of the cache in the order of the store: source, window end, key columns. */
struct node_final_row {
    const struct agg_entry *entry;
    const void *session;
    int64_t end;
    const uint8_t *columns; /* with the part of a pane */
    uint32_t columns_len;
    uint32_t source;
    bool gone; /* not a row: the stored one under this key has become another */
};

/* Takes the changed rows of the cache, in any order, into the view's scratch. */
void node_final_add(struct processor *p, struct node_view *view, const struct node_final_row *row);
/* node_session.c: all that have changed since the last commit. */
void node_session_changed(struct processor *p, struct node_view *view);
/* The row's value, as it is stored. */
void node_session_encode(const struct node_view *view, const void *session, struct buf *out);
/* Lets go of the changed sessions that are closed and have become messages. */
void node_session_emitted(struct processor *p, struct node_view *view);

/* Plugins. prepare: before the views over them; open: the code may refuse the schema. */
void node_plugin_prepare(struct processor *p, struct node_plugin *plugin,
                         const struct plan_plugin *plan);
int node_plugin_open(struct node_plugin *plugin, const struct kappa_plugin *code,
                     struct err *err) must_check;
void node_plugin_close(struct node_plugin *plugin);
/* After the flush is stored. */
void node_plugin_committed(struct node_plugin *plugin);
/* kappa_host.range and prefix: node_scan.c. */
int node_scan_range(void *ctx, const void *from, uint32_t from_len, const void *to, uint32_t to_len,
                    uint32_t limit, kappa_each_fn each, void *arg);
int node_scan_prefix(void *ctx, const void *bytes, uint32_t len, uint32_t limit, kappa_each_fn each,
                     void *arg);
/* Gives it the chunk's rows, and runs the views over what it makes. */
int node_plugin_apply(struct processor *p, struct node_plugin *plugin, struct err *err) must_check;
int node_plugin_flush(struct processor *p, struct node_plugin *plugin, struct err *err) must_check;
/* Runs the views over these rows on the chunk. */
int processor_run_views(struct processor *p, uint32_t rows, struct err *err) must_check;

#endif
