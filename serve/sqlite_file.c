/* Own header: sqlite_file.h. */
#include "serve/sqlite_file.h"

#include "base/file.h"
#include "serve/query_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sqlite_file {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *insert; /* or NULL */
};

static int failed(const struct sqlite_file *file, struct err *err)
{
    return err_set(err, sqlite3_errcode(file->db) == SQLITE_FULL ? KE_DISK_FULL : KE_IO,
                   "cannot write %s: %s", file->path, sqlite3_errmsg(file->db));
}

static int run(struct sqlite_file *file, const char *sql, struct err *err)
{
    return sqlite3_exec(file->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(file, err);
}

int sqlite_file_create(const char *path, struct sqlite_file **out, struct err *err)
{
    struct sqlite_file *file = xcalloc(1, sizeof *file);
    file->path = xstrdup(path);
    int code = sqlite3_open_v2(path, &file->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    int rc = code == SQLITE_OK ? 0 : failed(file, err);
    if (rc == 0) {
        rc = run(file, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN", err);
    }
    if (rc != 0) {
        (void)sqlite_file_close(file, false, NULL);
        return rc;
    }
    *out = file;
    return 0;
}

static void name_write(struct buf *out, const char *name)
{
    buf_append_u8(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            buf_append_u8(out, '"');
        }
        buf_append_u8(out, (uint8_t)*name);
    }
    buf_append_u8(out, '"');
}

/* Without a collation: nobody else has ours. A decimal column has no type: with one, SQLite would make
 * doubles of texts that have more digits. */
static void type_write(struct buf *out, enum kappa_type type)
{
    if (type == KAPPA_TYPE_NUMERIC) {
        return;
    }
    const char *declared = query_type_declared(type);
    const char *collate = strstr(declared, " COLLATE");
    size_t len = collate != NULL ? (size_t)(collate - declared) : strlen(declared);
    buf_append_u8(out, ' ');
    buf_append(out, declared, len);
}

int sqlite_file_table(struct sqlite_file *file, const char *name,
                      const struct sqlite_column *columns, uint32_t count, struct err *err)
{
    struct buf create = {0};
    struct buf insert = {0};
    buf_append_text(&create, "CREATE TABLE ");
    name_write(&create, name);
    buf_append_text(&insert, "INSERT INTO ");
    name_write(&insert, name);
    buf_append_text(&insert, " VALUES");
    for (uint32_t c = 0; c < count; c++) {
        buf_append_text(&create, c == 0 ? " (" : ", ");
        name_write(&create, columns[c].name);
        type_write(&create, columns[c].type);
        buf_append_text(&insert, c == 0 ? " (?" : ", ?");
    }
    buf_append_u8(&create, ')');
    buf_append_u8(&insert, ')');
    (void)sqlite3_finalize(file->insert);
    file->insert = NULL;
    int rc = run(file, buf_text(&create), err);
    if (rc == 0 &&
        sqlite3_prepare_v2(file->db, buf_text(&insert), -1, &file->insert, NULL) != SQLITE_OK) {
        rc = failed(file, err);
    }
    buf_free(&create);
    buf_free(&insert);
    return rc;
}

int sqlite_file_text(struct sqlite_file *file, uint32_t column, const char *text, size_t len,
                     struct err *err)
{
    int code = sqlite3_bind_text64(file->insert, (int)column + 1, text, len, SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    return code == SQLITE_OK ? 0 : failed(file, err);
}

int sqlite_file_value(struct sqlite_file *file, uint32_t column, const struct kappa_value *value,
                      struct err *err)
{
    return query_bind_value(file->insert, (int)column + 1, value) == SQLITE_OK ? 0
                                                                               : failed(file, err);
}

int sqlite_file_row(struct sqlite_file *file, struct err *err)
{
    int rc = sqlite3_step(file->insert) == SQLITE_DONE ? 0 : failed(file, err);
    (void)sqlite3_reset(file->insert);
    (void)sqlite3_clear_bindings(file->insert);
    return rc;
}

static int sync_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = fd >= 0 ? file_sync(fd, path, err) : err_errno(err, errno, "cannot open %s", path);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

int sqlite_file_close(struct sqlite_file *file, bool whole, struct err *err)
{
    (void)sqlite3_finalize(file->insert);
    int rc = whole ? run(file, "COMMIT", err) : 0;
    int code = sqlite3_close_v2(file->db);
    if (rc == 0 && code != SQLITE_OK) {
        rc = err_set(err, KE_IO, "cannot close %s: %s", file->path, sqlite3_errstr(code));
    }
    rc = rc == 0 && whole ? sync_file(file->path, err) : rc;
    free(file->path);
    free(file);
    return rc;
}
