/* Encoding and decoding of what stands in an environment. Own header: format.h. */
#include "table/format.h"

#include <stdio.h>
#include <string.h>

static inline uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap64(word);
}

/* Fewer than 8 bytes as a number of the same order among texts of this length. */
static inline uint64_t short_word(const uint8_t *bytes, size_t len)
{
    if (len >= sizeof(uint32_t)) {
        uint32_t half[2];
        memcpy(&half[0], bytes, sizeof half[0]);
        memcpy(&half[1], bytes + len - sizeof half[1], sizeof half[1]);
        return (uint64_t)__builtin_bswap32(half[0]) << 32 | __builtin_bswap32(half[1]);
    }
    return len == 0 ? 0 : (uint64_t)bytes[0] << 16 | (uint64_t)bytes[len / 2] << 8 | bytes[len - 1];
}

int format_key_order(const MDB_val *a, const MDB_val *b)
{
    const uint8_t *left = a->mv_data;
    const uint8_t *right = b->mv_data;
    size_t len = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    uint64_t l;
    uint64_t r;
    if (len < sizeof l) {
        l = short_word(left, len);
        r = short_word(right, len);
    } else {
        size_t at = 0;
        do {
            l = word_at(left + at);
            r = word_at(right + at);
            at += sizeof l;
        } while (l == r && at + sizeof l <= len);
        if (l == r) { /* the last ones, some of them again */
            l = word_at(left + len - sizeof l);
            r = word_at(right + len - sizeof l);
        }
    }
    return l != r ? (l < r ? -1 : 1) : (a->mv_size > b->mv_size) - (a->mv_size < b->mv_size);
}

/* Rows or their index. Who opens it again while others read sets what is set already. */
static int keys_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *out)
{
    int rc = mdb_dbi_open(txn, name, flags, out);
    return rc == 0 ? mdb_set_compare(txn, *out, format_key_order) : rc;
}

int format_dbs_open(MDB_txn *txn, const struct kappa_table_shape *tables, uint32_t table_count,
                    bool create, struct format_dbs *out)
{
    ASSERT_CMP(table_count, <=, STORE_DIGESTS);
    unsigned flags = create ? MDB_CREATE : 0;
    int rc = mdb_dbi_open(txn, "meta", flags, &out->meta);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "dead", flags, &out->dead);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "late", flags, &out->late);
    }
    bool windows = false;
    for (uint32_t i = 0; i < table_count; i++) {
        windows |= tables[i].windowed;
    }
    out->times = ENV_NO_HANDLE;
    if (rc == 0 && windows && mdb_dbi_open(txn, "times", flags, &out->times) != 0) {
        out->times = ENV_NO_HANDLE; /* made before there were any */
    }
    out->outbox = ENV_NO_HANDLE;
    if (rc == 0 && mdb_dbi_open(txn, "outbox", 0, &out->outbox) != 0) {
        out->outbox = ENV_NO_HANDLE; /* a new environment, or one without outputs */
    }
    for (uint32_t i = 0; i < table_count && rc == 0; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "r%u", i);
        rc = keys_open(txn, name, flags, &out->rows[i]);
        out->newest[i] = ENV_NO_HANDLE;
        if (rc == 0 && format_has_index(&tables[i])) {
            (void)snprintf(name, sizeof name, "n%u", i);
            rc = keys_open(txn, name, flags, &out->newest[i]);
        }
        out->leaves[i] = ENV_NO_HANDLE;
        if (rc == 0 && tables[i].leaves) {
            (void)snprintf(name, sizeof name, "d%u", i);
            rc = mdb_dbi_open(txn, name, flags, &out->leaves[i]);
            if (rc == MDB_NOTFOUND && !create) {
                out->leaves[i] = ENV_NO_HANDLE; /* made before there were any */
                rc = 0;
            }
        }
    }
    return rc;
}

static char shape_letter(const struct kappa_table_shape *table)
{
    return table->history ? 'h' : table->windowed ? 'w' : table->idle ? 'i' : 'p';
}

void format_shape(const struct kappa_table_shape *tables, uint32_t table_count, struct buf *text)
{
    for (uint32_t i = 0; i < table_count; i++) {
        buf_printf(text, "%c%s\n", shape_letter(&tables[i]), tables[i].name);
    }
}

static int check_shape(struct env *env, const MDB_val *found,
                       const struct kappa_table_shape *tables, uint32_t table_count,
                       struct err *err)
{
    struct buf text = {0};
    format_shape(tables, table_count, &text);
    bool same = found->mv_size == text.len &&
                (text.len == 0 || memcmp(found->mv_data, text.data, text.len) == 0);
    buf_free(&text);
    if (same) {
        return 0;
    }
    (void)err_set(err, KE_CORRUPT, "%s holds other tables than its definition says: \"%.*s\"",
                  env_dir(env), (int)(found->mv_size < 200 ? found->mv_size : 200),
                  (const char *)found->mv_data);
    err_hint(err, "drop this version and replay it: the log is the truth");
    return -KE_CORRUPT;
}

static int format_check(struct env *env, MDB_txn *txn, const struct format_dbs *dbs,
                        const struct kappa_table_shape *tables, uint32_t table_count,
                        struct err *err)
{
    MDB_val key = val_of("format", 6);
    MDB_val value;
    int rc = mdb_get(txn, dbs->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return err_set(err, KE_NOT_FOUND, "%s holds nothing yet", env_dir(env));
    }
    if (rc != 0) {
        return env_error(env, rc, "cannot read its format", err);
    }
    uint32_t version = value.mv_size == 4 ? load_u32_le(value.mv_data) : 0;
    if (version != FORMAT_VERSION && version != FORMAT_NO_LEAVES) {
        (void)err_set(err, KE_REFUSED, "%s has format %u, this program knows format %d",
                      env_dir(env), version, FORMAT_VERSION);
        err_hint(err, "use the program that made it, or drop this version and replay it");
        return -KE_REFUSED;
    }
    key = val_of("shape", 5);
    rc = mdb_get(txn, dbs->meta, &key, &value);
    if (rc != 0) {
        return env_error(env, rc, "cannot read its tables", err);
    }
    return check_shape(env, &value, tables, table_count, err);
}

static int open_locked(struct env *env, const struct kappa_table_shape *tables,
                       uint32_t table_count, struct format_dbs *out, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    /* "meta" is made in the same transaction as all the others: without it there is nothing. */
    rc = mdb_dbi_open(txn, "meta", 0, &out->meta);
    if (rc == MDB_NOTFOUND) {
        rc = err_set(err, KE_NOT_FOUND, "%s holds nothing yet", env_dir(env));
    } else if (rc != 0) {
        rc = env_error(env, rc, "cannot open its databases", err);
    } else {
        rc = format_check(env, txn, out, tables, table_count, err);
    }
    if (rc == 0) {
        rc = format_dbs_open(txn, tables, table_count, false, out);
        rc = rc == 0 ? 0 : env_error(env, rc, "cannot open its databases", err);
    }
    if (rc != 0) {
        env_read_end(env, txn);
        return rc;
    }
    return env_read_commit(env, txn, err);
}

int format_open(struct env *env, const struct kappa_table_shape *tables, uint32_t table_count,
                struct format_dbs *out, struct err *err)
{
    env_handles_lock(env);
    int rc = open_locked(env, tables, table_count, out, err);
    env_handles_unlock(env);
    return rc;
}

void format_source_key(uint8_t *key, uint32_t source)
{
    ASSERT_CMP(source, <=, UINT16_MAX);
    static const uint8_t prefix[] = {'s', 'o', 'u', 'r', 'c', 'e', '/'};
    memcpy(key, prefix, sizeof prefix);
    store_u16_be(key + 7, (uint16_t)source);
}

void format_source_zero(struct store_source *out)
{
    memset(out, 0, sizeof *out);
    out->state.event_time_max = KAPPA_NO_TIME;
    out->state.record_time_max = KAPPA_NO_TIME;
}

size_t format_source_encode(uint8_t *bytes, const struct store_source *source, uint32_t count)
{
    const struct kappa_source_state *state = &source->state;
    store_u64_le(bytes, (uint64_t)state->next_offset);
    store_u64_le(bytes + 8, (uint64_t)state->event_time_max);
    store_u64_le(bytes + 16, (uint64_t)state->record_time_max);
    store_u64_le(bytes + 24, state->records);
    store_u64_le(bytes + 32, state->dead);
    store_u64_le(bytes + 40, state->late);
    uint8_t *at = bytes + FORMAT_STATE_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        store_u64_le(at, source->digests[i].low);
        store_u64_le(at + 8, source->digests[i].high);
        at += 16;
    }
    return (size_t)(at - bytes);
}

bool format_source_decode(const uint8_t *bytes, size_t len, uint32_t count,
                          struct store_source *out)
{
    if (len < FORMAT_STATE_BYTES + (size_t)count * 16 || len > FORMAT_SOURCE_BYTES ||
        (len - FORMAT_STATE_BYTES) % 16 != 0) {
        return false;
    }
    format_source_zero(out);
    struct kappa_source_state *state = &out->state;
    state->next_offset = (int64_t)load_u64_le(bytes);
    state->event_time_max = (int64_t)load_u64_le(bytes + 8);
    state->record_time_max = (int64_t)load_u64_le(bytes + 16);
    state->records = load_u64_le(bytes + 24);
    state->dead = load_u64_le(bytes + 32);
    state->late = load_u64_le(bytes + 40);
    const uint8_t *at = bytes + FORMAT_STATE_BYTES;
    for (size_t i = 0; i < (len - FORMAT_STATE_BYTES) / 16; i++) {
        out->digests[i] = (struct digest){load_u64_le(at), load_u64_le(at + 8)};
        at += 16;
    }
    return true;
}

void format_leaf_encode(uint8_t *bytes, const struct format_leaf *leaf)
{
    store_u64_le(bytes, leaf->sum.low);
    store_u64_le(bytes + 8, leaf->sum.high);
    store_u64_le(bytes + 16, leaf->rows);
}

bool format_leaf_decode(const MDB_val *value, struct format_leaf *out)
{
    const uint8_t *at = value->mv_data;
    if (value->mv_size != FORMAT_LEAF_BYTES) {
        return false;
    }
    out->sum = (struct digest){load_u64_le(at), load_u64_le(at + 8)};
    out->rows = load_u64_le(at + 16);
    return true;
}

void format_outbox_key(uint8_t *key, uint32_t source, int64_t offset, uint32_t output, uint32_t seq)
{
    store_u16_be(key, u16_from(source));
    store_i64_sortable(key + 2, offset);
    store_u16_be(key + 10, u16_from(output));
    store_u32_be(key + 12, seq);
}

void format_taken_key(uint8_t *key, uint32_t source)
{
    static const uint8_t prefix[] = {'t', 'a', 'k', 'e', 'n', '/'};
    memcpy(key, prefix, sizeof prefix);
    store_u16_be(key + sizeof prefix, u16_from(source));
}

void format_times_key(uint8_t *key, uint32_t source, int64_t offset)
{
    store_u16_be(key, u16_from(source));
    store_i64_sortable(key + 2, offset);
}

void format_dead_key(uint8_t *key, uint32_t source, int64_t offset, uint32_t view)
{
    ASSERT_CMP(source, <=, UINT16_MAX);
    store_u16_be(key, (uint16_t)source);
    store_i64_sortable(key + 2, offset);
    store_u32_be(key + 10, view);
}

bool format_dead_decode(const MDB_val *key, const MDB_val *value, struct view_dead *out)
{
    const uint8_t *at = key->mv_data;
    const uint8_t *bytes = value->mv_data;
    if (key->mv_size != FORMAT_DEAD_KEY || value->mv_size < FORMAT_DEAD_HEAD) {
        return false;
    }
    uint32_t reason_len = load_u32_le(bytes);
    uint32_t value_len = load_u32_le(bytes + 4);
    uint64_t behind = value_len == KAPPA_NULL_LEN ? 0 : value_len;
    if (value->mv_size != FORMAT_DEAD_HEAD + (uint64_t)reason_len + behind) {
        return false;
    }
    *out = (struct view_dead){
        .source = load_u16_be(at),
        .offset = load_i64_sortable(at + 2),
        .view = load_u32_be(at + 10),
        .reason = (const char *)(bytes + FORMAT_DEAD_HEAD),
        .reason_len = reason_len,
        .bytes = value_len == KAPPA_NULL_LEN ? NULL : bytes + FORMAT_DEAD_HEAD + reason_len,
        .bytes_len = value_len,
    };
    return true;
}
