/* Copying an environment. Own header: copy.h. */
#include "table/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "table/format.h"

#define NEW_SUFFIX ".new" /* of what is not whole yet: no number, so nobody takes it for a shard */

/* ---- Making one */

static int copy_file(struct env *env, const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return err_errno(err, errno, "cannot make %s", path);
    }
    int rc = env_copy(env, fd, err);
    (void)close(fd);
    return rc;
}

static int take_source(const MDB_val *key, const MDB_val *value, struct store_copied *out)
{
    struct store_source *source = xcalloc(1, sizeof *source);
    if (!format_source_decode(value->mv_data, value->mv_size, 0, source)) {
        free(source);
        return MDB_CORRUPTED;
    }
    out->sources = xrealloc(out->sources, (out->count + 1) * sizeof *out->sources);
    out->sources[out->count++] = (struct store_copy_source){
        .source = load_u16_be((const uint8_t *)key->mv_data + FORMAT_SOURCE_KEY - 2),
        .state = source->state,
        .digest = store_digest_sum(source, STORE_DIGESTS)};
    free(source);
    return 0;
}

/* Reads the sources, and takes the seal off. A code of LMDB. */
static int settle(MDB_txn *txn, struct store_copied *out)
{
    MDB_dbi meta = 0;
    MDB_cursor *cursor = NULL;
    MDB_val sealed = val_of("sealed", 6);
    uint8_t first[FORMAT_SOURCE_KEY];
    format_source_key(first, 0);
    MDB_val key = val_of(first, sizeof first);
    MDB_val value;
    int rc = mdb_dbi_open(txn, "meta", 0, &meta);
    if (rc == 0) {
        rc = mdb_del(txn, meta, &sealed, NULL);
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (rc == 0) {
        rc = mdb_cursor_open(txn, meta, &cursor);
    }
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == FORMAT_SOURCE_KEY &&
           memcmp(key.mv_data, first, FORMAT_SOURCE_KEY - 2) == 0) {
        rc = take_source(&key, &value, out);
        rc = rc == 0 ? mdb_cursor_get(cursor, &key, &value, MDB_NEXT) : rc;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Opens the copy once, by which all of it is synced. */
static int finish(const char *to, struct store_copied *out, struct err *err)
{
    struct env *env = NULL;
    MDB_txn *txn = NULL;
    int rc = env_open(to, true, 0, &env, err);
    if (rc == 0) {
        rc = env_write_begin(env, &txn, err);
    }
    if (rc == 0) {
        int code = settle(txn, out);
        rc = code == 0 ? env_write_commit(env, txn, "cannot finish the copy", err)
                       : env_write_failed(env, txn, code, "cannot read the copy", err);
    }
    if (rc == 0) {
        rc = env_sync(env, err);
    }
    env_close(env);
    char *lock = xasprintf("%s/lock.mdb", to);
    if (rc == 0 && unlink(lock) != 0) {
        rc = err_errno(err, errno, "cannot remove %s", lock);
    }
    free(lock);
    return rc == 0 ? file_sync_dir(to, err) : rc;
}

int store_copy(const char *from, const char *to, struct store_copied *out, struct err *err)
{
    *out = (struct store_copied){0};
    struct env *env = NULL;
    int rc = env_open(from, false, 0, &env, err);
    if (rc != 0) {
        return rc;
    }
    char *path = xasprintf("%s/data.mdb", to);
    if (mkdir(to, 0750) != 0) {
        rc = err_errno(err, errno, "cannot make the directory %s", to);
    }
    if (rc == 0) {
        rc = copy_file(env, path, err);
    }
    env_close(env);
    if (rc == 0) {
        rc = finish(to, out, err);
    }
    if (rc != 0) {
        free(out->sources);
        *out = (struct store_copied){0};
    }
    out->bytes = file_tree_bytes(to);
    free(path);
    return rc;
}

/* ---- Adopting one */

static int adopt_new(const char *copy, const char *dir, const char *new, struct err *err)
{
    char *from = xasprintf("%s/data.mdb", copy);
    char *to = xasprintf("%s/data.mdb", new);
    int rc = file_make_dir(new, err);
    if (rc == 0 && unlink(to) != 0 && errno != ENOENT) { /* of one who died at it */
        rc = err_errno(err, errno, "cannot remove %s", to);
    }
    if (rc == 0) {
        rc = file_copy(from, to, err);
    }
    if (rc == 0 && rename(new, dir) != 0) {
        rc = err_errno(err, errno, "cannot make the directory %s", dir);
    }
    free(from);
    free(to);
    return rc;
}

int store_adopt(const char *copy, const char *dir, bool *adopted, struct err *err)
{
    *adopted = false;
    if (access(dir, F_OK) == 0) {
        return 0;
    }
    if (access(copy, F_OK) != 0) {
        return err_errno(err, errno, "cannot read %s", copy);
    }
    char *new = xasprintf("%s" NEW_SUFFIX, dir);
    int rc = adopt_new(copy, dir, new, err);
    free(new);
    *adopted = rc == 0;
    return rc;
}
