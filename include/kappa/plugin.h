/* Plugins: stream logic in C, for what SQL cannot say. This header is all that a plugin needs:
 *
 *     cc -shared -fPIC $(pkg-config --cflags kappa) -o fraud.so fraud.c
 *
 * In a definition a plugin is a table of rows that it makes out of the rows of another:
 *
 *     CREATE MATERIALIZED VIEW alerts AS
 *     SELECT user_id, reason FROM plugin('fraud.so', transactions) AS f(user_id text, reason text);
 *
 * Rules, on which exactness rests:
 *  1. event() is called once for each row of the input, in offset order within a partition; partitions
 *     come in any order, from one thread for each instance.
 *  2. What event() does is a function of the event and of what get() gives, of nothing else: no clock,
 *     no chance, no files, no memory of its own that outlives the call. A restart begins with a new
 *     instance, and only what was put() is still there.
 *  3. State is kept per partition, under the plugin's own keys, and committed with the rows.
 *  4. A plugin that crashes, does not return, or grows without bound ends its version's worker, and
 *     nothing else.
 */
#ifndef KAPPA_PLUGIN_H
#define KAPPA_PLUGIN_H

#include "include/kappa/row.h"

/* Version of the interface: what a plugin was compiled with stands in its struct kappa_plugin, and later
 * releases go on loading it. 2 adds range and prefix at the end of struct kappa_host. */
#define KAPPA_PLUGIN_ABI 2

/* Longest key of a plugin's state. */
#define KAPPA_PLUGIN_KEY_MAX 480

/* One row of the input. Everything is borrowed for the time of the call. */
struct kappa_event {
    const struct kappa_value *values; /* the input's columns, in the order declared */
    uint32_t value_count;
    uint32_t partition;
    int64_t offset;
    int64_t time_us;      /* event time, us since 1970 UTC; INT64_MIN: the input has none */
    int64_t watermark_us; /* behind this event; INT64_MIN: none */
};

/* One key and its value, borrowed until the next call of the host. 0: go on; else the scan stops. */
typedef int (*kappa_each_fn)(void *arg, const void *key, uint32_t key_len, const void *value,
                             uint32_t value_len);

/* What a plugin may call from event(). Functions return 0, or a negative code that event() hands on. */
struct kappa_host {
    void *ctx; /* first argument of all */
    /* The value kept under a key: 1 found (borrowed until the next call), 0 not, negative. */
    int (*get)(void *ctx, const void *key, uint32_t key_len, const void **value,
               uint32_t *value_len);
    int (*put)(void *ctx, const void *key, uint32_t key_len, const void *value, uint32_t value_len);
    int (*del)(void *ctx, const void *key, uint32_t key_len);
    /* Makes a row: one value per declared column, of its type or null; bytes are copied. */
    int (*emit)(void *ctx, const struct kappa_value *values, uint32_t count);
    /* The event cannot be processed: it is kept as a dead record with this reason. */
    int (*refuse)(void *ctx, const char *reason);
    /* Scans the state of this partition in the order of the keys' bytes: each(arg, ...) for the keys at
     * or above `from` and below `to` (NULL: to the last one), for `limit` of them at most (0: all). It
     * sees all that was put and deleted up to then, also by each() itself, which may call every
     * function of the host: a key that it puts further on comes, one that it deletes does not. Returns
     * 0 at the end, else what each() has stopped it with, or a negative code. */
    int (*range)(void *ctx, const void *from, uint32_t from_len, const void *to, uint32_t to_len,
                 uint32_t limit, kappa_each_fn each, void *arg);
    /* The same for the keys that begin with these bytes. */
    int (*prefix)(void *ctx, const void *bytes, uint32_t len, uint32_t limit, kappa_each_fn each,
                  void *arg);
};

/* What a plugin is opened with. */
struct kappa_plugin_schema {
    const char *const *input_names; /* columns of events */
    const enum kappa_type *input_types;
    uint32_t input_count;
    const char *const *output_names; /* columns of emitted rows */
    const enum kappa_type *output_types;
    uint32_t output_count;
};

struct kappa_plugin {
    uint32_t abi; /* KAPPA_PLUGIN_ABI, as it was compiled */
    /* Makes an instance, checks the schema. error: what is wrong, for people. Not 0: refused. */
    int (*open)(const struct kappa_plugin_schema *schema, void **instance, char *error,
                size_t error_size);
    /* 0, or what a function of the host returned; any other code ends the version. */
    int (*event)(void *instance, const struct kappa_event *event, const struct kappa_host *host);
    void (*close)(void *instance);
};

/* The one symbol that a plugin exports. */
const struct kappa_plugin *kappa_plugin(void);

#endif
