/* State per key of an operator. Own header: node_keyed.h. */
#include "processor/node_keyed.h"

#include "base/digest.h"
#include "base/limits.h"
#include "processor/node.h"
#include "processor/row_state.h"

#include <stdlib.h>
#include <string.h>

void node_keyed_open(struct processor *p, struct node_keyed *keyed, uint32_t table)
{
    keyed->table = table;
    agg_cache_open(&keyed->cache, &keyed->layout, &p->pool);
}

void node_keyed_close(struct node_keyed *keyed)
{
    agg_cache_close(&keyed->cache);
    free(keyed->maybe_stored);
    keyed->maybe_stored = NULL;
}

void node_keyed_restore(struct node_keyed *keyed, uint32_t source, bool stored)
{
    if (source >= keyed->source_count) {
        keyed->maybe_stored = xrealloc(keyed->maybe_stored, source + 1);
        memset(keyed->maybe_stored + keyed->source_count, 0, source + 1 - keyed->source_count);
        keyed->source_count = source + 1;
    }
    keyed->maybe_stored[source] = stored;
}

static int load(struct processor *p, struct node_keyed *keyed, struct agg_entry *entry,
                struct err *err)
{
    const uint8_t *value = NULL;
    size_t value_len = 0;
    p->loads++;
    int rc = p->options.load(p->options.load_ctx, keyed->table, agg_entry_key(&keyed->cache, entry),
                             entry->key_len, &value, &value_len, err);
    if (rc <= 0) {
        return rc;
    }
    entry->flags |= AGG_ENTRY_STORED;
    rc = agg_decode(&keyed->layout, entry->state, &p->pool, value, value_len, err);
    if (rc < 0) {
        err_prefix(err, "table %s", p->options.plan->tables[keyed->table].shape.name);
    }
    return rc;
}

int node_keyed_find(struct processor *p, struct node_keyed *keyed, uint32_t source,
                    const uint8_t *key, size_t key_len, struct agg_entry **out, struct err *err)
{
    uint64_t hash = hash_bytes(key, key_len);
    struct agg_entry *entry = agg_cache_find(&keyed->cache, hash, key, key_len);
    if (entry == NULL) {
        entry = agg_cache_create(&keyed->cache, hash, key, key_len, source, 0);
        int rc = keyed->maybe_stored[source] ? load(p, keyed, entry, err) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    *out = entry;
    return 0;
}

static bool is_gone(const struct node_keyed *keyed, const struct agg_entry *entry)
{
    return keyed->deletes && !row_state_there(entry->state);
}

static int flush_gone(const struct node_keyed *keyed, const struct agg_sorted *rows,
                      const struct kappa_change_sink *sink, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < keyed->cache.dirty_count && keyed->deletes && rc == 0; i++) {
        const struct agg_entry *entry = rows[i].entry;
        if (is_gone(keyed, entry)) {
            rc = sink->del(sink->ctx, keyed->table, agg_entry_key(&keyed->cache, entry),
                           entry->key_len, err);
        }
    }
    return rc;
}

int node_keyed_flush(struct processor *p, const struct node_keyed *keyed,
                     const struct kappa_change_sink *sink, struct err *err)
{
    struct agg_sorted *rows = agg_cache_sorted(&keyed->cache);
    int rc = flush_gone(keyed, rows, sink, err);
    for (size_t i = 0; i < keyed->cache.dirty_count && rc == 0; i++) {
        const struct agg_entry *entry = rows[i].entry;
        if (is_gone(keyed, entry)) {
            continue;
        }
        const char *table = p->options.plan->tables[keyed->table].shape.name;
        buf_reset(&p->row);
        agg_encode(&keyed->layout, entry->state, &p->row);
        if (p->row.len > LIMIT_ROW_BYTES) {
            rc = err_set(err, KE_LIMIT, "the state of a key in %s has %zu bytes, it may have %d",
                         table, p->row.len, LIMIT_ROW_BYTES);
            err_hint(err, "shorten the frame of OVER, or partition by more columns");
            break;
        }
        rc = sink->put(sink->ctx, keyed->table, agg_entry_key(&keyed->cache, entry), entry->key_len,
                       p->row.data, p->row.len, (entry->flags & AGG_ENTRY_STORED) == 0, err);
    }
    free(rows);
    return rc;
}

void node_keyed_committed(struct node_keyed *keyed)
{
    agg_cache_committed(&keyed->cache);
}

static void note_evicted(void *ctx, const struct agg_entry *entry)
{
    struct node_keyed *keyed = ctx;
    keyed->maybe_stored[entry->source] = true;
}

void node_keyed_evict(struct processor *p, struct node_keyed *keyed, size_t budget)
{
    p->evictions += agg_cache_evict(&keyed->cache, budget, note_evicted, keyed);
}
