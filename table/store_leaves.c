/* Leaves: digests of ranges of a table's keys, kept in the transaction that changes its rows. Own
 * header: store_inner.h; bytes: format.h; what reads them: delta.c.
 *
 * A leaf begins at every stored key whose hash, taken without the source, ends in `bits` zero bits, and
 * at the start of each source; it ends where the next one begins. So the leaves are a function of the
 * rows: the order in which they came, batches and deleted rows leave no trace. They are large (1,024
 * rows on average), for rows of a leaf that differs are compared as bytes, at some ten million a second,
 * and each leaf that a commit touches costs it a part of a page.
 *
 * The leaf that was changed last is at hand, and is written when a row of another one comes: rows come
 * in ascending order. A key that begins a leaf splits the one it falls in, for which the rows behind it
 * are read once: one more row for each row inserted, on average, and none where rows are appended. When
 * it goes, the leaf falls to the one before. */
#include "table/store_inner.h"

#include <string.h>

/* ---- keys */

static bool same_source(const MDB_val *key, const uint8_t *other)
{
    return key->mv_size >= KAPPA_KEY_SOURCE_BYTES &&
           memcmp(key->mv_data, other, KAPPA_KEY_SOURCE_BYTES) == 0;
}

/* Does a leaf begin at this key? The start of a source is no row's key but of a table of one row. */
static bool begins_leaf(const struct store *store, const MDB_val *key)
{
    size_t len = key->mv_size - KAPPA_KEY_SOURCE_BYTES;
    const uint8_t *behind = (const uint8_t *)key->mv_data + KAPPA_KEY_SOURCE_BYTES;
    uint64_t mask = (UINT64_C(1) << store->leaf_bits) - 1;
    return len > 0 && (hash_bytes(behind, len) & mask) == 0;
}

static bool is_inside(const struct store_leaf *leaf, const MDB_val *key)
{
    const uint8_t *bytes = key->mv_data;
    return leaf->at_hand && same_source(key, leaf->low) &&
           bytes_order(bytes, key->mv_size, leaf->low, leaf->low_len) >= 0 &&
           (leaf->high_len == 0 ||
            bytes_order(bytes, key->mv_size, leaf->high, leaf->high_len) < 0);
}

static size_t copy_key(uint8_t *to, const MDB_val *key)
{
    ASSERT_CMP(key->mv_size, <=, LIMIT_TABLE_KEY_LEN);
    memcpy(to, key->mv_data, key->mv_size);
    return key->mv_size;
}

/* ---- the leaf at hand */

static int leaf_write(struct store *store, struct store_table *t)
{
    struct store_leaf *leaf = &t->leaf;
    if (!leaf->at_hand || !leaf->changed) {
        return 0;
    }
    leaf->changed = false;
    MDB_val key = val_of(leaf->low, leaf->low_len);
    if (leaf->holds.rows == 0) {
        if (!digest_equal(leaf->holds.sum, (struct digest){0})) {
            return MDB_CORRUPTED;
        }
        int rc = mdb_del(store->txn, t->leaf_dbi, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    uint8_t bytes[FORMAT_LEAF_BYTES];
    format_leaf_encode(bytes, &leaf->holds);
    MDB_val value = val_of(bytes, sizeof bytes);
    return mdb_cursor_put(t->leaves, &key, &value, 0);
}

/* Takes the leaf that begins at `key`, or at the start of its source when that is another's. */
static int leaf_take(struct store_leaf *leaf, int rc, const MDB_val *key, const MDB_val *value,
                     const uint8_t *source)
{
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    leaf->holds = (struct format_leaf){0};
    if (rc == 0 && same_source(key, source)) {
        leaf->low_len = copy_key(leaf->low, key);
        return format_leaf_decode(value, &leaf->holds) ? 0 : MDB_CORRUPTED;
    }
    memmove(leaf->low, source, KAPPA_KEY_SOURCE_BYTES);
    leaf->low_len = KAPPA_KEY_SOURCE_BYTES;
    return 0;
}

/* Brings the leaf at hand in which this key falls, by the leaves there are. */
static int leaf_find(struct store *store, struct store_table *t, const MDB_val *key)
{
    struct store_leaf *leaf = &t->leaf;
    if (is_inside(leaf, key)) {
        return 0;
    }
    int rc = leaf_write(store, t);
    if (rc != 0) {
        return rc;
    }
    leaf->at_hand = false;
    leaf->high_len = 0;
    MDB_val found = *key;
    MDB_val value;
    rc = mdb_cursor_get(t->leaves, &found, &value, MDB_SET_RANGE);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    if (rc == 0 && bytes_order(found.mv_data, found.mv_size, key->mv_data, key->mv_size) == 0) {
        rc = leaf_take(leaf, 0, &found, &value, key->mv_data);
        if (rc == 0) {
            rc = mdb_cursor_get(t->leaves, &found, &value, MDB_NEXT);
        }
        if (rc == 0 && same_source(&found, key->mv_data)) {
            leaf->high_len = copy_key(leaf->high, &found);
        }
    } else {
        if (rc == 0 && same_source(&found, key->mv_data)) {
            leaf->high_len = copy_key(leaf->high, &found);
        }
        rc = mdb_cursor_get(t->leaves, &found, &value, rc == 0 ? MDB_PREV : MDB_LAST);
        rc = leaf_take(leaf, rc, &found, &value, key->mv_data);
    }
    leaf->at_hand = rc == 0 || rc == MDB_NOTFOUND;
    return leaf->at_hand ? 0 : rc;
}

/* ---- rows that come */

/* Sum of the stored rows of the leaf that lie above the key. */
static int sum_above(struct store_table *t, const MDB_val *key, struct format_leaf *out)
{
    const struct store_leaf *leaf = &t->leaf;
    MDB_val at = *key;
    MDB_val value;
    *out = (struct format_leaf){0};
    int rc = mdb_cursor_get(t->rows, &at, &value, MDB_SET);
    while (rc == 0) {
        rc = mdb_cursor_get(t->rows, &at, &value, MDB_NEXT);
        if (rc != 0 || !is_inside(leaf, &at)) {
            break;
        }
        digest_add(&out->sum,
                   digest_row(t->index, at.mv_data, at.mv_size, value.mv_data, value.mv_size));
        out->rows++;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A row came whose key begins a leaf: what lies above it in the leaf at hand belongs to the new one. */
static int leaf_split(struct store *store, struct store_table *t, const MDB_val *key,
                      struct digest hash, bool is_last)
{
    struct store_leaf *leaf = &t->leaf;
    struct format_leaf above = {0};
    int rc = is_last ? 0 : sum_above(t, key, &above);
    if (rc == 0 && above.rows > leaf->holds.rows) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0 && above.rows > 0) {
        digest_remove(&leaf->holds.sum, above.sum);
        leaf->holds.rows -= above.rows;
        leaf->changed = true;
    }
    if (rc == 0) {
        rc = leaf_write(store, t);
    }
    if (rc == 0) {
        leaf->low_len = copy_key(leaf->low, key);
        leaf->holds = above;
        digest_add(&leaf->holds.sum, hash);
        leaf->holds.rows++;
        leaf->changed = true;
    }
    return rc;
}

int store_leaf_insert(struct store *store, struct store_table *t, const MDB_val *key,
                      struct digest hash, bool is_last)
{
    if (t->leaf_dbi == ENV_NO_HANDLE) {
        return 0;
    }
    int rc = leaf_find(store, t, key);
    if (rc != 0) {
        return rc;
    }
    if (begins_leaf(store, key)) {
        return leaf_split(store, t, key, hash, is_last);
    }
    digest_add(&t->leaf.holds.sum, hash);
    t->leaf.holds.rows++;
    t->leaf.changed = true;
    return 0;
}

int store_leaf_replace(struct store *store, struct store_table *t, const MDB_val *key,
                       struct digest old, struct digest hash)
{
    if (t->leaf_dbi == ENV_NO_HANDLE) {
        return 0;
    }
    int rc = leaf_find(store, t, key);
    if (rc == 0) {
        digest_remove(&t->leaf.holds.sum, old);
        digest_add(&t->leaf.holds.sum, hash);
        t->leaf.changed = true;
    }
    return rc;
}

/* ---- rows that go */

/* The row at which the leaf at hand begins is gone: what is left belongs to the leaf before. */
static int leaf_join(struct store_table *t)
{
    struct store_leaf *leaf = &t->leaf;
    struct format_leaf rest = leaf->holds;
    uint8_t source[KAPPA_KEY_SOURCE_BYTES];
    memcpy(source, leaf->low, sizeof source);
    MDB_val key = val_of(leaf->low, leaf->low_len);
    MDB_val value;
    int rc = mdb_cursor_get(t->leaves, &key, &value, MDB_SET);
    if (rc == 0) {
        rc = mdb_cursor_del(t->leaves, 0);
    }
    if (rc != 0 && rc != MDB_NOTFOUND) { /* it was not written yet */
        return rc;
    }
    key = val_of(leaf->low, leaf->low_len);
    rc = mdb_cursor_get(t->leaves, &key, &value, MDB_SET_RANGE);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = mdb_cursor_get(t->leaves, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
        rc = leaf_take(leaf, rc, &key, &value, source);
    }
    if (rc == 0) {
        digest_add(&leaf->holds.sum, rest.sum);
        leaf->holds.rows += rest.rows;
        leaf->changed = true;
    }
    return rc;
}

int store_leaf_remove(struct store *store, struct store_table *t, const MDB_val *key,
                      struct digest hash)
{
    if (t->leaf_dbi == ENV_NO_HANDLE) {
        return 0;
    }
    int rc = leaf_find(store, t, key);
    if (rc == 0 && t->leaf.holds.rows == 0) {
        rc = MDB_CORRUPTED;
    }
    if (rc != 0) {
        return rc;
    }
    struct store_leaf *leaf = &t->leaf;
    digest_remove(&leaf->holds.sum, hash);
    leaf->holds.rows--;
    leaf->changed = true;
    bool first = key->mv_size > KAPPA_KEY_SOURCE_BYTES &&
                 bytes_order(key->mv_data, key->mv_size, leaf->low, leaf->low_len) == 0;
    return first ? leaf_join(t) : 0;
}

int store_leaves_write(struct store *store)
{
    int rc = 0;
    for (uint32_t i = 0; i < store->table_count && rc == 0; i++) {
        rc = leaf_write(store, &store->tables[i]);
    }
    return rc;
}
