/* The catalog in LMDB. Own header: catalog.h.
 *
 * One unnamed database in an environment of its own. The map has a fixed size, so that no reader
 * ever has to follow it; what is kept here is small. Values:
 *
 *     JSON objects   text, one line, without NUL
 *     "s/<table>"    version byte 1 | length of the processor's name u8 | 0 0 | version u32 LE
 *                    | epoch u64 LE | name; with a canary behind it
 *                    | version u32 LE | share u16 LE | shadow u8 | 0
 */
#include "table/catalog.h"

#include "base/digest.h"
#include "table/env.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOG_MAGIC     0x6c746143U /* "Catl" */
#define CATALOG_MAP_BYTES ((size_t)1 << 30)
#define POINTER_VERSION   1
#define POINTER_HEAD      16
#define POINTER_CANARY    8
#define SEEN              16 /* pointers in memory */

_Static_assert(LIMIT_NAME_LEN <= UINT8_MAX, "a name's length fits its byte");
_Static_assert(CATALOG_KEY_LEN <= LIMIT_TABLE_KEY_LEN, "a key fits LMDB");

/* A pointer as it was when the catalog stood at a commit. Every read asks for one, twice, and the catalog
 * changes seldom. */
struct seen {
    pthread_mutex_t lock;
    uint64_t commit; /* 0: nothing was seen */
    bool there;
    char table[LIMIT_NAME_LEN + 1];
    struct catalog_pointer pointer;
};

struct catalog {
    uint32_t magic;
    bool writable;
    struct env *env;
    MDB_dbi dbi;
    MDB_txn *txn; /* the open write transaction, or NULL; the writer's thread */
    struct seen seen[SEEN];
};

bool catalog_canary_same(const struct catalog_canary *a, const struct catalog_canary *b)
{
    return a->version == b->version && a->share == b->share && a->shadow == b->shadow;
}

bool catalog_pointer_same(const struct catalog_pointer *a, const struct catalog_pointer *b)
{
    return a->epoch == b->epoch && a->version == b->version &&
           catalog_canary_same(&a->canary, &b->canary) && strcmp(a->processor, b->processor) == 0;
}

int catalog_open(const char *dir, bool writable, struct catalog **out, struct err *err)
{
    struct catalog *catalog = xcalloc(1, sizeof *catalog);
    catalog->magic = CATALOG_MAGIC;
    catalog->writable = writable;
    for (size_t i = 0; i < SEEN; i++) {
        ASSERT(pthread_mutex_init(&catalog->seen[i].lock, NULL) == 0);
    }
    int rc = env_open(dir, writable, CATALOG_MAP_BYTES, &catalog->env, err);
    if (rc == 0) {
        env_fix_map(catalog->env);
        rc = env_open_only(catalog->env, &catalog->dbi, err);
    }
    if (rc == 0 && writable) {
        rc = env_sync_dir(catalog->env, err);
    }
    if (rc != 0) {
        err_prefix(err, "the catalog");
        if (rc == -KE_CORRUPT) {
            err_hint(err,
                     "restore the data directory from a backup; without one, move %s away, start, "
                     "and deploy again: the log is the truth",
                     dir);
        }
        catalog_close(catalog);
        return rc;
    }
    *out = catalog;
    return 0;
}

void catalog_close(struct catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    catalog_abort(catalog);
    if (catalog->env != NULL) {
        env_close(catalog->env);
    }
    for (size_t i = 0; i < SEEN; i++) {
        (void)pthread_mutex_destroy(&catalog->seen[i].lock);
    }
    catalog->magic = 0;
    free(catalog);
}

/* ---- keys */

void catalog_key_processor(char *text, const char *processor)
{
    (void)snprintf(text, CATALOG_KEY_LEN, "p/%s", processor);
}

void catalog_key_version(char *text, const char *processor, uint32_t version)
{
    (void)snprintf(text, CATALOG_KEY_LEN, "v/%s/%010u", processor, version);
}

void catalog_key_receipt(char *text, const char *processor, uint64_t epoch)
{
    (void)snprintf(text, CATALOG_KEY_LEN, "r/%s/%010llu", processor, (unsigned long long)epoch);
}

static void key_pointer(char *text, const char *table)
{
    (void)snprintf(text, CATALOG_KEY_LEN, "s/%s", table);
}

/* Names of tables come from requests: one too long to be stored is simply not there. */
static bool key_fits(const char *key)
{
    size_t len = strlen(key);
    return len > 0 && len <= LIMIT_TABLE_KEY_LEN;
}

/* ---- reading */

static json_t *parse(struct catalog *catalog, const MDB_val *key, const MDB_val *value,
                     struct err *err)
{
    json_t *json = json_parse(value->mv_data, value->mv_size, err);
    if (json == NULL) {
        (void)err_set(err, KE_CORRUPT, "%s: the object %.*s is not JSON", env_dir(catalog->env),
                      (int)key->mv_size, (const char *)key->mv_data);
    }
    return json;
}

int catalog_get(struct catalog *catalog, const char *key, json_t **out, struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    MDB_txn *txn = NULL;
    if (!key_fits(key)) {
        return err_set(err, KE_NOT_FOUND, "there is no %s in the catalog", key);
    }
    int rc = env_read_begin(catalog->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    MDB_val v;
    rc = mdb_get(txn, catalog->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) {
        rc = err_set(err, KE_NOT_FOUND, "there is no %s in the catalog", key);
    } else if (rc != 0) {
        rc = env_error(catalog->env, rc, "cannot read the catalog", err);
    } else {
        json_t *json = parse(catalog, &k, &v, err);
        rc = json == NULL ? -KE_CORRUPT : 0;
        *out = json != NULL ? json : *out;
    }
    env_read_end(catalog->env, txn);
    return rc;
}

/* Appends every object with the prefix. 0, or an error of ours. */
static int list_into(struct catalog *catalog, MDB_cursor *cursor, const char *prefix, json_t *list,
                     struct err *err)
{
    size_t len = strlen(prefix);
    MDB_val key = {len, (void *)(uintptr_t)prefix};
    MDB_val value;
    int rc = mdb_cursor_get(cursor, &key, &value, len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    while (rc == 0 && key.mv_size >= len && memcmp(key.mv_data, prefix, len) == 0) {
        const char *text = key.mv_data;
        if (key.mv_size < 2 || memcmp(text, "s/", 2) != 0) { /* pointers are not objects */
            json_t *json = parse(catalog, &key, &value, err);
            if (json == NULL) {
                return -KE_CORRUPT;
            }
            json_t *item = json_object();
            ASSERT(json_object_set_new(item, "key", json_stringn(text, key.mv_size)) == 0);
            ASSERT(json_object_set_new(item, "value", json) == 0);
            ASSERT(json_array_append_new(list, item) == 0);
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == 0 || rc == MDB_NOTFOUND
               ? 0
               : env_error(catalog->env, rc, "cannot read the catalog", err);
}

int catalog_list(struct catalog *catalog, const char *prefix, json_t **out, struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    MDB_txn *txn = NULL;
    int rc = env_read_begin(catalog->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    json_t *list = json_array();
    MDB_cursor *cursor = NULL;
    rc = mdb_cursor_open(txn, catalog->dbi, &cursor);
    if (rc == 0) {
        rc = list_into(catalog, cursor, prefix, list, err);
        mdb_cursor_close(cursor);
    } else {
        rc = env_error(catalog->env, rc, "cannot read the catalog", err);
    }
    env_read_end(catalog->env, txn);
    if (rc != 0) {
        json_decref(list);
        return rc;
    }
    *out = list;
    return 0;
}

/* False when the bytes are not a pointer this program knows. */
static bool pointer_decode(const MDB_val *value, struct catalog_pointer *out)
{
    const uint8_t *at = value->mv_data;
    if (value->mv_size < POINTER_HEAD || at[0] != POINTER_VERSION || at[1] > LIMIT_NAME_LEN) {
        return false;
    }
    size_t plain = POINTER_HEAD + (size_t)at[1];
    if (value->mv_size != plain && value->mv_size != plain + POINTER_CANARY) {
        return false;
    }
    memset(out, 0, sizeof *out);
    memcpy(out->processor, at + POINTER_HEAD, at[1]);
    out->version = load_u32_le(at + 4);
    out->epoch = load_u64_le(at + 8);
    if (value->mv_size > plain) {
        out->canary.version = load_u32_le(at + plain);
        out->canary.share = (uint16_t)(at[plain + 4] | at[plain + 5] << 8);
        out->canary.shadow = at[plain + 6] != 0;
    }
    return true;
}

/* 1, 0, or negative; *commit: where the catalog stands. */
static int pointer_read(struct catalog *catalog, const char *table, struct catalog_pointer *out,
                        uint64_t *commit, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(catalog->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    char key[CATALOG_KEY_LEN];
    key_pointer(key, table);
    MDB_val k = {strlen(key), key};
    MDB_val v;
    *commit = mdb_txn_id(txn);
    rc = mdb_get(txn, catalog->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) {
        rc = 0;
    } else if (rc != 0) {
        rc = env_error(catalog->env, rc, "cannot read the catalog", err);
    } else if (!pointer_decode(&v, out)) {
        rc = err_set(err, KE_CORRUPT, "%s: the serving pointer of table %s does not decode",
                     env_dir(catalog->env), table);
    } else {
        rc = 1;
    }
    env_read_end(catalog->env, txn);
    return rc;
}

int catalog_pointer_find(struct catalog *catalog, const char *table, struct catalog_pointer *out,
                         struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    size_t len = strlen(table);
    *out = (struct catalog_pointer){0};
    if (len > LIMIT_NAME_LEN) {
        return 0;
    }
    struct seen *seen = &catalog->seen[hash_bytes(table, len) % SEEN];
    (void)pthread_mutex_lock(&seen->lock);
    bool known = seen->commit != 0 && strcmp(seen->table, table) == 0 &&
                 env_is_at(catalog->env, seen->commit);
    int rc = seen->there;
    if (known) {
        *out = seen->pointer;
    }
    (void)pthread_mutex_unlock(&seen->lock);
    if (known) {
        return rc;
    }
    uint64_t commit = 0;
    rc = pointer_read(catalog, table, out, &commit, err);
    if (rc >= 0) {
        (void)pthread_mutex_lock(&seen->lock);
        seen->commit = commit;
        seen->there = rc == 1;
        seen->pointer = *out;
        memcpy(seen->table, table, len + 1);
        (void)pthread_mutex_unlock(&seen->lock);
    }
    return rc;
}

int catalog_pointer_get(struct catalog *catalog, const char *table, struct catalog_pointer *out,
                        struct err *err)
{
    int rc = catalog_pointer_find(catalog, table, out, err);
    if (rc != 0) {
        return rc < 0 ? rc : 0;
    }
    return strlen(table) > LIMIT_NAME_LEN
               ? err_set(err, KE_NOT_FOUND, "no table %.40s... is served", table)
               : err_set(err, KE_NOT_FOUND, "no table %s is served", table);
}

/* ---- writing */

int catalog_begin(struct catalog *catalog, struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    ASSERT(catalog->writable);
    ASSERT(catalog->txn == NULL);
    int rc = env_write_begin(catalog->env, &catalog->txn, err);
    if (rc != 0) {
        catalog->txn = NULL;
    }
    return rc;
}

void catalog_abort(struct catalog *catalog)
{
    if (catalog->txn != NULL) {
        env_write_abort(catalog->env, catalog->txn);
        catalog->txn = NULL;
    }
}

/* Drops the transaction and says why. */
static int write_failed(struct catalog *catalog, int rc, struct err *err)
{
    catalog_abort(catalog);
    return env_error(catalog->env, rc, "cannot write the catalog", err);
}

static int put(struct catalog *catalog, const char *key, const void *data, size_t len,
               struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    ASSERT(catalog->txn != NULL);
    ASSERT(key_fits(key));
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    MDB_val v = {len, (void *)(uintptr_t)data};
    int rc = mdb_put(catalog->txn, catalog->dbi, &k, &v, 0);
    return rc == 0 ? 0 : write_failed(catalog, rc, err);
}

static int delete_key(struct catalog *catalog, const char *key, struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    ASSERT(catalog->txn != NULL);
    ASSERT(key_fits(key));
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    int rc = mdb_del(catalog->txn, catalog->dbi, &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : write_failed(catalog, rc, err);
}

int catalog_put(struct catalog *catalog, const char *key, const json_t *value, struct err *err)
{
    struct buf text = {0};
    json_write(&text, value);
    int rc = put(catalog, key, buf_text(&text), text.len, err);
    buf_free(&text);
    return rc;
}

int catalog_delete(struct catalog *catalog, const char *key, struct err *err)
{
    return delete_key(catalog, key, err);
}

int catalog_pointer_put(struct catalog *catalog, const char *table,
                        const struct catalog_pointer *pointer, struct err *err)
{
    uint8_t bytes[POINTER_HEAD + LIMIT_NAME_LEN + POINTER_CANARY] = {POINTER_VERSION};
    const struct catalog_canary *canary = &pointer->canary;
    size_t len = strlen(pointer->processor);
    ASSERT_CMP(len, <=, LIMIT_NAME_LEN);
    ASSERT_CMP(strlen(table), <=, LIMIT_NAME_LEN);
    ASSERT_CMP(pointer->version, >=, 1);
    bytes[1] = (uint8_t)len;
    store_u32_le(bytes + 4, pointer->version);
    store_u64_le(bytes + 8, pointer->epoch);
    memcpy(bytes + POINTER_HEAD, pointer->processor, len); /* NOLINT: bytes with their length */
    size_t size = POINTER_HEAD + len;
    if (canary->version != 0) {
        ASSERT_CMP(canary->share, <=, CATALOG_SHARE_ALL);
        store_u32_le(bytes + size, canary->version);
        bytes[size + 4] = (uint8_t)canary->share;
        bytes[size + 5] = (uint8_t)(canary->share >> 8);
        bytes[size + 6] = canary->shadow;
        size += POINTER_CANARY;
    }
    char key[CATALOG_KEY_LEN];
    key_pointer(key, table);
    return put(catalog, key, bytes, size, err);
}

int catalog_pointer_delete(struct catalog *catalog, const char *table, struct err *err)
{
    char key[CATALOG_KEY_LEN];
    key_pointer(key, table);
    return delete_key(catalog, key, err);
}

int catalog_commit(struct catalog *catalog, struct err *err)
{
    MAGIC_ASSERT(catalog, CATALOG_MAGIC);
    MDB_txn *txn = catalog->txn;
    ASSERT(txn != NULL);
    catalog->txn = NULL;
    return env_write_commit(catalog->env, txn, "cannot commit to the catalog", err);
}
