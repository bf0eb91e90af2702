/* Commits: opening, transactions, sealing. Own header: store.h; rows: store_rows.c; sources and
 * sequence: store_meta.c; bytes on disk: format.h.
 *
 * A commit, step by step, with the fail points that tests use:
 *
 *     store_begin    "flush"      nothing written; the write transaction begins, seq is checked
 *     sink calls                  pages of the transaction
 *     store_commit   "commit"     everything but the sources' states is in the transaction
 *                                 states, digests, seq + 1; LMDB commits, syncs when it must
 *                    "committed"  it is on disk; memory follows
 *
 * A failure at any step leaves the last commit, on disk and in memory. seq finds a second writer:
 * what it reads when it begins must be what the last commit of this store wrote.
 */
#include "base/trace.h"
#include "table/history.h"
#include "table/store_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define READER_CHECK_EVERY 256  /* commits */
#define STORE_PAGE_BYTES   4096 /* LMDB takes the system's page size */
#define LEAF_BITS          10
#define RESERVE_BYTES      (2U << 20)

/* ---- opening */

static int lock_take(struct store *store, const char *dir, struct err *err)
{
    store->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->lock_fd < 0) {
        return err_errno(err, errno, "cannot open the directory %s", dir);
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    if (errno != EWOULDBLOCK) {
        return err_errno(err, errno, "cannot lock the directory %s", dir);
    }
    (void)err_set(err, KE_BUSY, "%s is being written by another worker", dir);
    err_hint(err, "stop the other process; `fuser %s` names it", dir);
    return -KE_BUSY;
}

/* The shapes as an array, as format.h wants them. */
static void shapes_of(const struct store *store, struct kappa_table_shape *shapes)
{
    for (uint32_t i = 0; i < store->table_count; i++) {
        shapes[i] = store->tables[i].shape;
    }
}

/* Makes the databases of a new environment. */
static int make_once(struct store *store, struct err *err)
{
    struct kappa_table_shape shapes[STORE_DIGESTS];
    shapes_of(store, shapes);
    int rc = env_write_begin(store->env, &store->txn, err);
    if (rc != 0) {
        return rc;
    }
    struct buf shape = {0};
    format_shape(shapes, store->table_count, &shape);
    uint8_t version[4];
    store_u32_le(version, FORMAT_VERSION);
    rc = format_dbs_open(store->txn, shapes, store->table_count, true, &store->dbs);
    if (rc == 0 && store->output_count > 0) {
        rc = mdb_dbi_open(store->txn, "outbox", MDB_CREATE, &store->dbs.outbox);
    }
    if (rc == 0) {
        rc = store_meta_put(store, "format", version, sizeof version);
    }
    const uint8_t leaf_bits = (uint8_t)store->leaf_bits;
    if (rc == 0) {
        rc = store_meta_put(store, "leaves", &leaf_bits, sizeof leaf_bits);
    }
    if (rc == 0) {
        rc = store_meta_put(store, "shape", shape.data == NULL ? "" : (const char *)shape.data,
                            shape.len);
    }
    buf_free(&shape);
    if (rc != 0) {
        return store_fail(store, rc, "cannot make its databases", err);
    }
    MDB_txn *txn = store->txn;
    store->txn = NULL;
    return env_write_commit(store->env, txn, "cannot make its databases", err);
}

static int dbs_prepare(struct store *store, struct err *err)
{
    struct kappa_table_shape shapes[STORE_DIGESTS];
    shapes_of(store, shapes);
    int rc = format_open(store->env, shapes, store->table_count, &store->dbs, err);
    if (rc != -KE_NOT_FOUND) {
        return rc;
    }
    env_handles_lock(store->env);
    do {
        rc = make_once(store, err);
    } while (rc == -KE_AGAIN);
    env_handles_unlock(store->env);
    return rc;
}

/* Rows and pages, as the transaction sees them. A code of LMDB. */
static int measure(struct store *store, MDB_txn *txn, uint64_t *used, bool *has_rows)
{
    uint64_t pages = 0;
    *has_rows = false;
    MDB_stat st;
    int rc = mdb_stat(txn, store->dbs.meta, &st);
    pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    if (rc == 0) {
        rc = mdb_stat(txn, store->dbs.dead, &st);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    if (rc == 0) {
        rc = mdb_stat(txn, store->dbs.late, &st);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    if (rc == 0 && store->dbs.times != ENV_NO_HANDLE) {
        rc = mdb_stat(txn, store->dbs.times, &st);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    if (rc == 0 && store->output_count > 0) {
        rc = mdb_stat(txn, store->dbs.outbox, &st);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    for (uint32_t i = 0; i < store->table_count && rc == 0; i++) {
        rc = mdb_stat(txn, store->dbs.rows[i], &st);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
        *has_rows |= st.ms_entries > 0;
        if (rc == 0 && format_has_index(&store->tables[i].shape)) {
            rc = mdb_stat(txn, store->dbs.newest[i], &st);
            pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
        }
        if (rc == 0 && store->dbs.leaves[i] != ENV_NO_HANDLE) {
            rc = mdb_stat(txn, store->dbs.leaves[i], &st);
            pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
        }
    }
    *used = pages * st.ms_psize;
    return rc;
}

static int measure_now(struct store *store, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(store->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = measure(store, txn, &store->used_bytes, &store->has_rows);
    env_read_end(store->env, txn);
    return rc == 0 ? 0 : env_error(store->env, rc, "cannot read its sizes", err);
}

static int store_prepare(struct store *store, const struct store_options *options, struct err *err)
{
    size_t map_bytes = options->map_bytes == 0 ? ENV_MAP_BYTES : options->map_bytes;
    map_bytes = map_bytes < ENV_MAP_MIN ? ENV_MAP_MIN : map_bytes;
    int rc = env_open(options->dir, true, map_bytes, &store->env, err);
    if (rc == 0) {
        rc = lock_take(store, options->dir, err);
    }
    if (rc != 0) {
        return rc;
    }
    env_set_nosync(store->env, options->building);
    rc = dbs_prepare(store, err);
    if (rc == 0) {
        rc = store_meta_load(store, err);
    }
    for (uint32_t i = 0; i < store->table_count && rc == 0; i++) {
        store->tables[i].leaf_dbi = store->dbs.leaves[i];
    }
    if (rc == 0) {
        rc = store_outbox_count(store, err);
    }
    if (rc == 0) {
        rc = measure_now(store, err);
    }
    if (rc == 0 && store->sealed) {
        env_set_nosync(store->env, false);
    }
    if (rc == 0 && !options->building) {
        rc = env_sync_dir(store->env, err);
    }
    return rc;
}

int store_open(const struct store_options *options, struct store **out, struct err *err)
{
    ASSERT(options->dir != NULL);
    ASSERT_CMP(options->table_count + options->output_count, <=, STORE_DIGESTS);
    ASSERT_CMP(options->leaf_bits, <, 64);
    struct store *store = xcalloc(1, sizeof *store);
    store->magic = STORE_MAGIC;
    store->lock_fd = -1;
    store->table_count = options->table_count;
    store->output_count = options->output_count;
    store->leaf_bits = options->leaf_bits == 0 ? LEAF_BITS : options->leaf_bits;
    store->fail_point = options->fail_point;
    store->fail_ctx = options->fail_ctx;
    store_rows_sink(store);
    for (uint32_t i = 0; i < options->table_count; i++) {
        store->tables[i].index = i;
        store->tables[i].shape = options->tables[i];
        store->tables[i].shape.name = xstrdup(options->tables[i].name);
    }
    int rc = store_prepare(store, options, err);
    if (rc != 0) {
        store_close(store);
        return rc;
    }
    *out = store;
    return 0;
}

static void load_end(struct store *store)
{
    if (store->load_txn != NULL) {
        env_read_end(store->env, store->load_txn);
        store->load_txn = NULL;
    }
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    MAGIC_ASSERT(store, STORE_MAGIC);
    store_abort(store);
    load_end(store);
    env_close(store->env);
    if (store->lock_fd >= 0) {
        (void)close(store->lock_fd);
    }
    for (uint32_t i = 0; i < store->table_count; i++) {
        free((void *)(uintptr_t)store->tables[i].shape.name);
    }
    store_slots_free(store);
    store->magic = 0;
    free(store);
}

/* ---- what the last commit holds */

bool store_source_get(struct store *store, uint32_t source, struct store_source *out)
{
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    const struct store_slot *slot = store->slots[source];
    if (slot == NULL) {
        format_source_zero(out);
        return false;
    }
    *out = slot->now;
    return slot->committed;
}

bool store_has_rows(const struct store *store)
{
    return store->has_rows;
}

bool store_sealed(const struct store *store)
{
    return store->sealed;
}

/* What reads rows back begins here: *out is ctx. The read transaction stays open from load to load
 * until the next commit begins: it stands at the last commit, which the writer keeps anyway, so it
 * holds no page back. */
static int load_begin(void *ctx, uint32_t table, struct store **out, struct err *err)
{
    struct store *store = ctx;
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT_CMP(table, <, store->table_count);
    *out = store;
    return store->load_txn != NULL ? 0 : env_read_begin(store->env, &store->load_txn, err);
}

int store_load(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, const uint8_t **value,
               size_t *value_len, struct err *err)
{
    struct store *store;
    int rc = load_begin(ctx, table, &store, err);
    if (rc != 0) {
        return rc;
    }
    MDB_val k = val_of(key, key_len);
    MDB_val v;
    rc = mdb_get(store->load_txn, store->dbs.rows[table], &k, &v);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return env_error(store->env, rc, "cannot read a row back", err);
    }
    *value = v.mv_data;
    *value_len = v.mv_size;
    return 1;
}

int store_window_below(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, int64_t below,
                       int64_t *window_end, struct err *err)
{
    struct store *store;
    int rc = load_begin(ctx, table, &store, err);
    if (rc != 0) {
        return rc;
    }
    if (store->tables[table].shape.history) {
        rc = history_below(store->load_txn, store->dbs.newest[table], key, key_len, below,
                           window_end);
    } else {
        ASSERT(store->tables[table].shape.windowed && below == INT64_MAX);
        MDB_val k = val_of(key, key_len);
        MDB_val v = {0, NULL};
        rc = mdb_get(store->load_txn, store->dbs.newest[table], &k, &v);
        rc = rc == 0 && v.mv_size != KAPPA_KEY_WINDOW_BYTES ? MDB_CORRUPTED : rc;
        *window_end = rc == 0 ? load_i64_sortable(v.mv_data) : 0;
    }
    return rc == 0              ? 1
           : rc == MDB_NOTFOUND ? 0
                                : env_error(store->env, rc, "cannot read a window back", err);
}

int store_row_from(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                   const uint8_t **found, size_t *found_len, const uint8_t **value,
                   size_t *value_len, struct err *err)
{
    struct store *store;
    int rc = load_begin(ctx, table, &store, err);
    if (rc != 0) {
        return rc;
    }
    MDB_val k = val_of(key, key_len);
    MDB_val v = {0, NULL};
    MDB_cursor *cursor = NULL;
    rc = mdb_cursor_open(store->load_txn, store->dbs.rows[table], &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        mdb_cursor_close(cursor);
    }
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : env_error(store->env, rc, "cannot read rows back", err);
    }
    *found = k.mv_data;
    *found_len = k.mv_size;
    *value = v.mv_data;
    *value_len = v.mv_size;
    return 1;
}

void store_sizes(const struct store *store, uint64_t *file_bytes, uint64_t *used_bytes)
{
    *file_bytes = env_file_bytes(store->env);
    *used_bytes = store->used_bytes;
}

void store_readers(const struct store *store, struct store_readers *out)
{
    out->count = env_readers(store->env, &out->oldest);
}

size_t store_commit_bytes(const struct store *store, uint64_t rows)
{
    uint64_t pages = store->used_bytes / STORE_PAGE_BYTES;
    return (size_t)((rows < pages ? rows : pages) * STORE_PAGE_BYTES);
}

struct digest store_digest_sum(const struct store_source *source, uint32_t count)
{
    struct digest sum = {0};
    ASSERT_CMP(count, <=, STORE_DIGESTS);
    for (uint32_t i = 0; i < count; i++) {
        digest_add(&sum, source->digests[i]);
    }
    return sum;
}

/* ---- a commit */

/* The transaction is over: LMDB has freed its cursors. */
static void txn_over(struct store *store)
{
    store->txn = NULL;
    store->outbox = NULL;
    for (uint32_t i = 0; i < store->table_count; i++) {
        store->tables[i].rows = NULL;
        store->tables[i].newest = NULL;
        store->tables[i].leaves = NULL;
        store->tables[i].leaf.at_hand = false;
        store->tables[i].last_known = false;
    }
}

void store_abort(struct store *store)
{
    if (store->txn != NULL) {
        env_write_abort(store->env, store->txn);
        txn_over(store);
        store_slots_drop(store);
    }
}

int store_fail(struct store *store, int rc, const char *what, struct err *err)
{
    MDB_txn *txn = store->txn;
    ASSERT(txn != NULL);
    txn_over(store);
    store_slots_drop(store);
    load_end(store); /* the map may have to move */
    return env_write_failed(store->env, txn, rc, what, err);
}

static int fail_point(struct store *store, const char *step, struct err *err)
{
    int code = store->fail_point == NULL ? 0 : store->fail_point(store->fail_ctx, step);
    if (code == 0) {
        return 0;
    }
    store_abort(store);
    return err_set(err, (enum err_code)(code < 0 ? -code : code), "stopped at fail point \"%s\"",
                   step);
}

static int begin(struct store *store, struct err *err)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn == NULL);
    ASSERT_CMP(store->touched_count, ==, 0);
    load_end(store);
    if (store->seq % READER_CHECK_EVERY == 0) {
        env_reader_check(store->env); /* killed readers hold pages back, and the file grows */
    }
    int rc = env_write_begin(store->env, &store->txn, err);
    if (rc != 0) {
        store->txn = NULL;
        return rc;
    }
    uint64_t seq = 0;
    rc = store_meta_seq(store->txn, &store->dbs, &seq);
    if (rc != 0) {
        return store_fail(store, rc, "cannot read its commit number", err);
    }
    if (seq != store->seq) {
        store_abort(store);
        return err_set(err, KE_BUSY,
                       "%s: another worker wrote to it (its commit number is %llu, expected %llu)",
                       env_dir(store->env), (unsigned long long)seq,
                       (unsigned long long)store->seq);
    }
    return 0;
}

int store_begin(struct store *store, struct err *err)
{
    int rc = fail_point(store, "flush", err);
    return rc != 0 ? rc : begin(store, err);
}

const struct kappa_change_sink *store_sink(struct store *store)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    return &store->sink;
}

int store_source_put(struct store *store, uint32_t source, const struct kappa_source_state *state,
                     struct err *err)
{
    (void)err; /* nothing is written before the commit */
    store_slot_touch(store, source)->next.state = *state;
    return 0;
}

/* Writes what a commit has besides rows, commits, and lets memory follow. */
static int commit(struct store *store, struct err *err)
{
    uint8_t seq[8];
    store_u64_le(seq, store->seq + 1);
    int rc = store_leaves_write(store);
    if (rc == 0) {
        rc = store_times_write(store);
    }
    if (rc == 0) {
        rc = store_slots_write(store);
    }
    if (rc == 0) {
        rc = store_meta_put(store, "seq", seq, sizeof seq);
    }
    uint64_t used = 0;
    bool has_rows = false;
    if (rc == 0) {
        rc = measure(store, store->txn, &used, &has_rows);
    }
    if (rc != 0) {
        return store_fail(store, rc, "cannot write its sources", err);
    }
    MDB_txn *txn = store->txn;
    txn_over(store);
    load_end(store);
    rc = env_write_commit(store->env, txn, "cannot commit", err);
    if (rc != 0) {
        store_slots_drop(store);
        return rc;
    }
    store->seq++;
    store->used_bytes = used;
    store->has_rows = has_rows;
    store_slots_adopt(store);
    return 0;
}

int store_commit(struct store *store, struct err *err)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    int rc = fail_point(store, "commit", err);
    if (rc == 0) {
        rc = commit(store, err);
    }
    return rc != 0 ? rc : fail_point(store, "committed", err);
}

void store_reserve(struct store *store)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn == NULL);
    struct err err = {0};
    int64_t room = i64_min((int64_t)(store->used_bytes / 4), RESERVE_BYTES);
    room -= room % STORE_PAGE_BYTES;
    if (store->sealed && env_reserve(store->env, (uint32_t)room, &err) != 0) {
        trace(TRACE_DEBUG, "%s", err.text);
    }
}

int store_seal(struct store *store, struct err *err)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn == NULL);
    if (store->sealed) {
        return 0;
    }
    int rc = env_sync(store->env, err);
    if (rc == 0) {
        rc = env_sync_dir(store->env, err);
    }
    if (rc != 0) {
        return rc;
    }
    env_set_nosync(store->env, false);
    do {
        rc = begin(store, err);
        if (rc != 0) {
            return rc;
        }
        rc = store_meta_put(store, "sealed", "\1", 1);
        rc = rc != 0 ? store_fail(store, rc, "cannot seal", err) : commit(store, err);
    } while (rc == -KE_AGAIN);
    store->sealed = rc == 0;
    return rc;
}
