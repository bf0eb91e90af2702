/* Scans of a plugin's state in the order of its keys. Own headers: node.h, include/kappa/plugin.h.
 *
 * What was changed since the last commit is in the cache, dirty, and put into an order by key_index.h;
 * everything else is as it is stored. The two are merged by key, and of two rows under one key the dirty
 * one counts, which may say that there is none. Each step looks for the next key anew, so that the
 * plugin may change its state meanwhile. */
#include "base/limits.h"
#include "processor/node.h"
#include "processor/row_state.h"

#include <string.h>

#define KEY_BYTES (KAPPA_KEY_SOURCE_BYTES + KAPPA_PLUGIN_KEY_MAX)

/* All keys with their source. */
struct scan {
    uint8_t at[KEY_BYTES + 1]; /* rows at or above this are left */
    size_t at_len;
    uint8_t end[KEY_BYTES]; /* ... below this */
    size_t end_len;
    /* The stored row at hand. */
    bool sought;
    const uint8_t *key; /* NULL: none is left */
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
};

static int broken(struct node_plugin *plugin, int rc)
{
    plugin->rc = rc;
    return rc;
}

static bool is_wanted(const struct scan *scan, const uint8_t *key, size_t len)
{
    return key_compare(key, len, scan->end, scan->end_len) < 0;
}

/* The smallest bytes above all that begin with these. Sources are below 65535: there are some. */
static void end_behind(struct scan *scan)
{
    while (scan->end[scan->end_len - 1] == 0xFF) {
        scan->end_len--;
        ASSERT(scan->end_len > 0);
    }
    scan->end[scan->end_len - 1]++;
}

static int key_set(struct node_plugin *plugin, const void *bytes, uint32_t len, uint8_t *key,
                   size_t *key_len)
{
    if (len > KAPPA_PLUGIN_KEY_MAX) {
        return broken(plugin, err_set(plugin->err, KE_LIMIT,
                                      "plugin %s: a key of its state has %u bytes, at most %d",
                                      plugin->plan->file, len, KAPPA_PLUGIN_KEY_MAX));
    }
    store_u16_be(key, u16_from(plugin->p->chunk.source_index));
    if (len > 0) {
        memcpy(key + KAPPA_KEY_SOURCE_BYTES, bytes, len);
    }
    *key_len = KAPPA_KEY_SOURCE_BYTES + (size_t)len;
    return 0;
}

/* The next stored row. */
static int seek(struct node_plugin *plugin, struct scan *scan)
{
    const struct processor_options *options = &plugin->p->options;
    scan->sought = true;
    scan->key = NULL;
    if (options->row_from == NULL) {
        return 0;
    }
    int rc =
        options->row_from(options->load_ctx, plugin->keyed.table, scan->at, scan->at_len,
                          &scan->key, &scan->key_len, &scan->value, &scan->value_len, plugin->err);
    if (rc < 0) {
        return broken(plugin, rc);
    }
    if (rc == 0 || !is_wanted(scan, scan->key, scan->key_len)) {
        scan->key = NULL;
        return 0;
    }
    return scan->key_len <= KEY_BYTES
               ? 0
               : broken(plugin,
                        err_set(plugin->err, KE_CORRUPT, "table %s: a row's key is too long",
                                options->plan->tables[plugin->keyed.table].shape.name));
}

/* The next changed row, or NULL. */
static const struct agg_entry *changed(struct node_plugin *plugin, const struct scan *scan)
{
    const struct agg_cache *cache = &plugin->keyed.cache;
    key_index_take(&plugin->index, cache);
    const struct agg_entry *entry = key_index_from(&plugin->index, cache, scan->at, scan->at_len);
    return entry != NULL && is_wanted(scan, agg_entry_key(cache, entry), entry->key_len) ? entry
                                                                                         : NULL;
}

/* Steps to the next row: 1 there is one, 0 none, 2 one that was deleted, negative. */
static int step(struct node_plugin *plugin, struct scan *scan, struct kappa_text *value)
{
    int rc = scan->sought ? 0 : seek(plugin, scan);
    if (rc < 0) {
        return rc;
    }
    const struct agg_entry *entry = changed(plugin, scan);
    if (entry == NULL && scan->key == NULL) {
        return 0;
    }
    const uint8_t *cached = entry == NULL ? NULL : agg_entry_key(&plugin->keyed.cache, entry);
    int order = entry == NULL       ? 1
                : scan->key == NULL ? -1
                                    : key_compare(cached, entry->key_len, scan->key, scan->key_len);
    const uint8_t *key = order <= 0 ? cached : scan->key;
    size_t len = order <= 0 ? entry->key_len : scan->key_len;
    const struct agg_text *text = order <= 0 ? (const void *)entry->state : NULL;
    *value = text != NULL
                 ? (struct kappa_text){(const char *)text->bytes, text->len}
                 : (struct kappa_text){(const char *)scan->value, u32_from(scan->value_len)};
    memmove(scan->at, key, len);
    scan->at[len] = 0; /* nothing is between the key and this */
    scan->at_len = len + 1;
    scan->sought = order < 0;
    return order <= 0 && !row_state_there(entry->state) ? 2 : 1;
}

static int run(struct node_plugin *plugin, struct scan *scan, uint32_t limit, kappa_each_fn each,
               void *arg)
{
    for (uint32_t given = 0; limit == 0 || given < limit;) {
        struct kappa_text value = {0};
        int rc = step(plugin, scan, &value);
        if (rc <= 0) {
            return rc;
        }
        if (rc == 2) {
            continue;
        }
        uint8_t key[KEY_BYTES];
        size_t len = scan->at_len - 1;
        memcpy(key, scan->at, len);
        given++;
        rc = each(arg, key + KAPPA_KEY_SOURCE_BYTES, (uint32_t)(len - KAPPA_KEY_SOURCE_BYTES),
                  value.bytes, value.len);
        if (rc != 0 || plugin->rc < 0) {
            return plugin->rc < 0 ? plugin->rc : rc;
        }
    }
    return 0;
}

int node_scan_range(void *ctx, const void *from, uint32_t from_len, const void *to, uint32_t to_len,
                    uint32_t limit, kappa_each_fn each, void *arg)
{
    struct node_plugin *plugin = ctx;
    struct scan scan = {.sought = false};
    if (key_set(plugin, from, from_len, scan.at, &scan.at_len) < 0 ||
        key_set(plugin, to, to == NULL ? 0 : to_len, scan.end, &scan.end_len) < 0) {
        return plugin->rc;
    }
    if (to == NULL) {
        end_behind(&scan);
    }
    return run(plugin, &scan, limit, each, arg);
}

int node_scan_prefix(void *ctx, const void *bytes, uint32_t len, uint32_t limit, kappa_each_fn each,
                     void *arg)
{
    struct node_plugin *plugin = ctx;
    struct scan scan = {.sought = false};
    if (key_set(plugin, bytes, len, scan.at, &scan.at_len) < 0 ||
        key_set(plugin, bytes, len, scan.end, &scan.end_len) < 0) {
        return plugin->rc;
    }
    end_behind(&scan);
    return run(plugin, &scan, limit, each, arg);
}
