/* One version is replayed, and the rows of all labels are kept in a file. Own header: export.h. */
#include "cli/export.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/limit_text.h"
#include "cli/place.h"
#include "cli/replaying.h"
#include "log/log.h"
#include "processor/value_codec.h"

#define ROWS_BYTES ((size_t)1 << 20) /* written at once */

/* ---- Rows into a file */

struct rows_file {
    struct export_job *export;
    struct export_pass *pass;
    const struct export_labels *labels;
    char *path;
    int fd;
    int64_t end; /* of what is written */
    struct buf buf;
    uint32_t label; /* whose rows are being added */
    bool any;
};

static int rows_flush(struct rows_file *file, struct err *err)
{
    int rc = file_write_at(file->fd, file->buf.data, file->buf.len, file->end, file->path, err);
    file->end += i64_from(file->buf.len);
    buf_reset(&file->buf);
    return rc;
}

static void label_end(struct rows_file *file)
{
    if (file->any) {
        buf_append_u8(&file->buf, 0);
    }
    file->any = false;
}

static int row_keep(void *ctx, uint32_t label, uint32_t index, const struct kappa_value *values,
                    const struct err *why, struct err *err)
{
    struct rows_file *file = ctx;
    struct export_table *table = &file->export->tables[file->pass->tables[index]];
    if (values == NULL) {
        if (table->refused++ == 0) {
            table->why = *why;
        }
        return 0;
    }
    if (!file->any || label != file->label) {
        label_end(file);
        file->label = label;
        file->any = true;
        file->pass->at[file->labels->rows[label]] = (uint64_t)file->end + file->buf.len;
    }
    table->rows++;
    buf_append_u8(&file->buf, (uint8_t)(index + 1));
    for (uint32_t c = 0; c < table->column_count; c++) {
        const struct kappa_value *value = &values[table->columns[c].output];
        buf_append_u8(&file->buf, value->is_null ? 1 : 0);
        if (!value->is_null) {
            value_encode(&file->buf, value);
        }
    }
    return file->buf.len >= ROWS_BYTES ? rows_flush(file, err) : 0;
}

static int rows_map(struct rows_file *file, struct err *err)
{
    struct export_pass *pass = file->pass;
    label_end(file);
    int rc = rows_flush(file, err);
    pass->rows_len = (size_t)file->end;
    if (rc != 0 || pass->rows_len == 0) {
        return rc;
    }
    void *map = mmap(NULL, pass->rows_len, PROT_READ, MAP_SHARED, file->fd, 0);
    if (map == MAP_FAILED) {
        return err_errno(err, errno, "cannot map %s", file->path);
    }
    pass->rows = map;
    return 0;
}

static int rows_collect(struct export_job *export, struct export_pass *pass, const struct tap *tap,
                        const struct export_labels *labels, struct err *err)
{
    struct rows_file file = {.export = export, .pass = pass, .labels = labels};
    uint32_t count = labels->tap.count;
    file.path =
        xasprintf("%s/rows-%u", scratch_dir(export->scratch), (unsigned)(pass - export->passes));
    pass->at = xcalloc((size_t)count + 1, sizeof *pass->at);
    for (uint32_t i = 0; i < count; i++) {
        pass->at[i] = EXPORT_NONE;
    }
    file.fd = open(file.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int rc = file.fd >= 0 ? 0 : err_errno(err, errno, "cannot make %s", file.path);
    if (rc == 0) {
        rc = tap_rows(tap, export->stop, row_keep, &file, err);
    }
    if (rc == 0) {
        rc = rows_map(&file, err);
    }
    if (file.fd >= 0) {
        (void)close(file.fd);
    }
    buf_free(&file.buf);
    free(file.path);
    return rc;
}

int export_pass_values(const struct export_job *export, const struct export_pass *pass,
                       uint64_t row, struct kappa_value *values, struct err *err)
{
    uint32_t first[EXPORT_TABLES_MAX];
    uint32_t count = 0;
    for (uint32_t t = 0; t < pass->table_count; t++) {
        const struct export_table *table = &export->tables[pass->tables[t]];
        first[t] = count;
        for (uint32_t c = 0; c < table->column_count; c++) {
            values[count++] = (struct kappa_value){
                .type = table->plan->outputs[table->columns[c].output].type, .is_null = true};
        }
    }
    if (pass->at[row] == EXPORT_NONE) {
        return 0;
    }
    size_t pos = (size_t)pass->at[row];
    bool good = true;
    while (good && pos < pass->rows_len && pass->rows[pos] != 0) {
        uint32_t t = pass->rows[pos++] - 1U;
        const struct export_table *table = &export->tables[pass->tables[t]];
        for (uint32_t c = 0; good && c < table->column_count; c++) {
            struct kappa_value *value = &values[first[t] + c];
            good = pos < pass->rows_len;
            value->is_null = good && pass->rows[pos++] != 0;
            good =
                good && (value->is_null || value_decode(pass->rows, pass->rows_len, &pos, value));
        }
    }
    return good ? 0 : err_set(err, KE_CORRUPT, "a file of the export does not read back");
}

/* ---- */

/* The digests that the version had committed at this cut say whether the replay made the same of the log. */
static int digests_compare(const struct export_pass *pass, struct err *err)
{
    size_t i;
    json_t *source;
    json_array_foreach (json_object_get(pass->committed, "sources"), i, source) {
        char text[DIGEST_TEXT_LEN + 1];
        digest_format(pass->done.sources[i], text);
        if (strcmp(text, json_text(source, "digest", "")) != 0) {
            int rc = err_set(err, KE_REFUSED,
                             "v%" PRIu32 " of %s is not what its definition makes of the log: its "
                             "digest of %s partition %lld is %s, replayed it is %s",
                             pass->version, pass->processor, json_text(source, "topic", "?"),
                             (long long)json_int(source, "partition", -1),
                             json_text(source, "digest", "-"), text);
            err_hint(err, "nothing was exported; `kappa verify %s %" PRIu32 "` compares again",
                     pass->processor, pass->version);
            return rc;
        }
    }
    return 0;
}

/* --limit: what `kappa limit` takes, but for goals: nobody regulates this replay. */
static int limit_read(const struct export_job *export, struct governor_limit *out, struct err *err)
{
    static const char *const goals[] = {"freshness_ms", "finish_by", "priority"};
    const char *text = cli_option(export->cli, "limit");
    json_t *limit = NULL;
    int rc = text != NULL ? limit_text_parse(text, clock_wall_ms(clock_real()), &limit, err) : 0;
    for (size_t i = 0; rc == 0 && i < array_len(goals); i++) {
        if (json_object_get(limit, goals[i]) != NULL) {
            rc = err_set(err, KE_INVALID, "--limit %s: an export takes numbers only", text);
            err_hint(err, "write 50000/s, 20MB/s, 'broker <= 20MB/s', or several with commas");
        }
    }
    rc = rc == 0 ? governor_limit_parse(limit, out, err) : rc;
    json_decref(limit);
    return rc;
}

static int replay_log(struct export_job *export, struct export_pass *pass,
                      const struct export_labels *labels, struct tap **tap, struct err *err)
{
    struct replaying replaying = {.cli = export->cli,
                                  .processor = pass->processor,
                                  .version = pass->version,
                                  .object = pass->object};
    uint32_t views[EXPORT_TABLES_MAX];
    struct log *log = NULL;
    for (uint32_t t = 0; t < pass->table_count; t++) {
        views[t] = export->tables[pass->tables[t]].view;
    }
    char *dir =
        xasprintf("%s/pass-%u", scratch_dir(export->scratch), (unsigned)(pass - export->passes));
    struct tap_replay replay = {.plan = pass->plan,
                                .group = "kappa-export",
                                .dir = dir,
                                .labels = &labels->tap,
                                .views = views,
                                .table_count = pass->table_count,
                                .newest = export->newest,
                                .stop = export->stop};
    const json_t *committed = json_object_get(pass->committed, "sources");
    int rc = limit_read(export, &replay.limit, err);
    rc = rc == 0 ? replaying_open(&replaying, err) : rc;
    if (rc == 0 && json_array_size(committed) != replaying.count) {
        rc = replaying_wrong(&replaying, err);
    }
    for (uint32_t s = 0; s < replaying.count && rc == 0; s++) {
        replaying.cut[s] = json_int(json_array_get(committed, s), "next", 0);
    }
    rc = rc == 0 ? place_log_archived(export->cli, &log, err) : rc;
    if (rc == 0) {
        replay.log = log;
        rc = replaying_run(&replaying, &replay, tap, &pass->done, err);
    }
    if (log != NULL) {
        log->ops->close(log);
    }
    replaying_close(&replaying);
    free(dir);
    return rc;
}

int export_pass_run(struct export_job *export, struct export_pass *pass, struct err *err)
{
    struct export_labels labels;
    struct tap *tap = NULL;
    int rc = export_labels_load(export, pass, &labels, err);
    export->count = labels.tap.count;
    rc = rc == 0 ? replay_log(export, pass, &labels, &tap, err) : rc;
    rc = rc == 0 ? digests_compare(pass, err) : rc;
    rc = rc == 0 ? rows_collect(export, pass, tap, &labels, err) : rc;
    tap_close(tap);
    export_labels_free(&labels);
    return rc;
}
