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
#include "cli/output.h"
#include "cli/place.h"
#include "log/log.h"
#include "processor/value_codec.h"

#define CACHE_BYTES (INT64_C(256) << 20)
#define SHARDS_MAX  8
#define ROWS_BYTES  ((size_t)1 << 20) /* written at once */
#define TELL_US     250000

/* ---- What is replayed */

struct sources {
    struct shard_source *list;
    int64_t *cut;
    uint32_t count;
    int64_t records; /* between starts and cut, at most */
};

/* The partitions as the version numbers them, and the cut that it has committed. */
static int sources_read(const struct export_pass *pass, struct sources *out, struct err *err)
{
    const json_t *inputs = json_object_get(pass->object, "inputs");
    const json_t *starts = json_object_get(pass->object, "start");
    const json_t *committed = json_object_get(pass->committed, "sources");
    size_t total = json_array_size(committed);
    size_t i;
    json_t *input;
    out->list = xcalloc(total + 1, sizeof *out->list);
    out->cut = xcalloc(total + 1, sizeof *out->cut);
    json_array_foreach (inputs, i, input) {
        int64_t partitions = json_int(input, "partitions", 0);
        for (int64_t p = 0; p < partitions && out->count < total; p++) {
            uint32_t s = out->count++;
            out->list[s] =
                (struct shard_source){.source = s,
                                      .input = u32_from(i),
                                      .topic = json_text(input, "topic", ""),
                                      .partition = (uint32_t)p,
                                      .partitions = (uint32_t)partitions,
                                      .start = json_integer_value(json_array_get(starts, s))};
            out->cut[s] = json_int(json_array_get(committed, s), "next", 0);
            out->records += i64_max(out->cut[s] - out->list[s].start, 0);
        }
    }
    if (out->count != total || json_array_size(starts) != total) {
        return err_set(err, KE_CORRUPT,
                       "the catalog's object of v%" PRIu32 " of %s does not add up", pass->version,
                       pass->processor);
    }
    return 0;
}

static void sources_free(struct sources *sources)
{
    free(sources->list);
    free(sources->cut);
}

/* A topic that was made anew is another one. */
static int topics_check(const struct export_pass *pass, struct log *log, struct err *err)
{
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(pass->object, "inputs"), i, input) {
        uint64_t identity = 0;
        const char *topic = json_text(input, "topic", "");
        uint64_t known = (uint64_t)json_int(input, "identity", 0);
        if (known == 0) {
            continue;
        }
        int rc = log->ops->topic_identity(log, topic, &identity, err);
        if (rc == 0 && identity != 0 && identity != known) {
            rc = err_set(err, KE_TOPIC_CHANGED,
                         "topic %s was deleted and made again since v%" PRIu32 " of %s read it",
                         topic, pass->version, pass->processor);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* {"file.so": path} of the version's plugins, or NULL. */
static json_t *plugins_of(const struct export_job *export, const struct export_pass *pass)
{
    json_t *plugins = json_object_get(pass->object, "plugins");
    json_t *paths = NULL;
    const char *file;
    json_t *hash;
    json_object_foreach (plugins, file, hash) {
        char *path =
            xasprintf("%s/plugins/%s.so", place_data(export->cli), json_string_value(hash));
        paths = paths != NULL ? paths : json_object();
        (void)json_object_set_new(paths, file, json_string(path));
        free(path);
    }
    return paths;
}

/* ---- Progress */

struct teller {
    const struct export_job *export;
    const struct export_pass *pass;
    int64_t total;
    int64_t began_us;
    int64_t told_us;
    bool drawn;
    struct err trouble; /* told last */
};

static void tell(void *ctx, uint64_t records, const struct err *trouble)
{
    struct teller *teller = ctx;
    const struct cli *cli = teller->export->cli;
    int64_t now = clock_mono_us(clock_real());
    if (trouble != NULL && strcmp(trouble->text, teller->trouble.text) != 0) {
        teller->trouble = *trouble;
        (void)fprintf(stderr, "%swaiting: %s\n", teller->drawn ? "\r\033[K" : "", trouble->text);
    }
    if (!cli->live || cli->json || now - teller->told_us < TELL_US || teller->total <= 0) {
        return;
    }
    char done[OUT_NUMBER_LEN];
    char all[OUT_NUMBER_LEN];
    char rate[OUT_NUMBER_LEN];
    char left[OUT_NUMBER_LEN];
    double ratio = (double)records / (double)teller->total;
    double seconds = (double)(now - teller->began_us) / 1e6;
    json_t *rest = json_real(records > 0 ? seconds / ratio - seconds : -1);
    struct buf bar = {0};
    out_bar(&bar, ratio, 20);
    (void)fprintf(stderr, "\r\033[K%s v%" PRIu32 " %s %s of %s records, %s/s, %s left",
                  teller->pass->processor, teller->pass->version, buf_text(&bar),
                  out_short((double)records, done), out_short((double)teller->total, all),
                  out_short((double)records / (seconds > 0 ? seconds : 1), rate),
                  out_seconds(rest, left));
    json_decref(rest);
    buf_free(&bar);
    teller->drawn = true;
    teller->told_us = now;
}

static void tell_end(const struct teller *teller)
{
    if (teller->drawn) {
        (void)fprintf(stderr, "\r\033[K");
    }
}

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

static uint32_t shards_of(const struct sources *sources, int64_t asked)
{
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t shards = asked > 0 ? asked : i64_min(i64_max(cores, 1), SHARDS_MAX);
    return (uint32_t)i64_max(i64_min(shards, sources->count), 1);
}

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

static int options_read(const struct export_job *export, const struct sources *sources,
                        struct tap_replay *replay, struct err *err)
{
    int64_t shards = 0;
    int64_t cache = 0;
    int rc = cli_option_int(export->cli, "shards", 1, LIMIT_SHARDS, 0, &shards, err);
    if (rc == 0) {
        rc = cli_option_bytes(export->cli, "cache", CACHE_BYTES, &cache, err);
    }
    if (rc == 0) {
        rc = limit_read(export, &replay->limit, err);
    }
    replay->shards = shards_of(sources, shards);
    replay->cache_bytes = (size_t)cache;
    return rc;
}

static int replay_log(struct export_job *export, struct export_pass *pass,
                      const struct sources *sources, const struct export_labels *labels,
                      struct tap **tap, struct err *err)
{
    uint32_t views[EXPORT_TABLES_MAX];
    struct log *log = NULL;
    struct teller teller = {.export = export,
                            .pass = pass,
                            .total = sources->records,
                            .began_us = clock_mono_us(clock_real())};
    for (uint32_t t = 0; t < pass->table_count; t++) {
        views[t] = export->tables[pass->tables[t]].view;
    }
    char *group = xasprintf("kappa-export-%s", pass->processor);
    char *schemas = xasprintf("%s/schemas", place_data(export->cli));
    char *dir =
        xasprintf("%s/pass-%u", scratch_dir(export->scratch), (unsigned)(pass - export->passes));
    json_t *plugins = plugins_of(export, pass);
    struct tap_replay replay = {.plan = pass->plan,
                                .group = group,
                                .dir = dir,
                                .schemas = schemas,
                                .plugins = plugins,
                                .sources = sources->list,
                                .source_count = sources->count,
                                .cut = sources->cut,
                                .labels = &labels->tap,
                                .views = views,
                                .table_count = pass->table_count,
                                .newest = export->newest,
                                .stop = export->stop,
                                .progress = tell,
                                .progress_ctx = &teller};
    int rc = options_read(export, sources, &replay, err);
    rc = rc == 0 ? file_make_dir(dir, err) : rc;
    rc = rc == 0 ? place_log_archived(export->cli, &log, err) : rc;
    rc = rc == 0 ? topics_check(pass, log, err) : rc;
    if (rc == 0) {
        replay.log = log;
        rc = tap_replay_run(&replay, tap, &pass->done, err);
        tell_end(&teller);
    }
    if (rc == -KE_RANGE_LOST) {
        err_hint(err, "an archive keeps what the log lets go: kappa topic set TOPIC archive=on");
    }
    if (log != NULL) {
        log->ops->close(log);
    }
    json_decref(plugins);
    free(dir);
    free(schemas);
    free(group);
    return rc;
}

int export_pass_run(struct export_job *export, struct export_pass *pass, struct err *err)
{
    struct sources sources = {0};
    struct export_labels labels;
    struct tap *tap = NULL;
    int rc = export_labels_load(export, pass, &labels, err);
    export->count = labels.tap.count;
    rc = rc == 0 ? sources_read(pass, &sources, err) : rc;
    rc = rc == 0 ? replay_log(export, pass, &sources, &labels, &tap, err) : rc;
    rc = rc == 0 ? digests_compare(pass, err) : rc;
    rc = rc == 0 ? rows_collect(export, pass, tap, &labels, err) : rc;
    tap_close(tap);
    sources_free(&sources);
    export_labels_free(&labels);
    return rc;
}
