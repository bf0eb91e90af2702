/* SCAN, DBSIZE and the tables there are. Own header: redis_private.h.
 *
 * A place of a scan (which table, version and epoch, behind which row) is kept by the server under
 * the number that the client gets as its cursor: any connection may go on with it, and again, until
 * REDIS_SCAN_PLACES newer ones have come. A scan never mixes versions: when another one was swapped
 * in since the last call, the cursor is an error that says so and the scan is to be begun anew.
 *
 * Rows of windows come with the time of their window, table@tMS:key; MATCH table:* finds them too. */
#include "serve/redis_private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Behind the seconds since 1970: until 2106 a cursor is then below 2^53, since some clients keep it as a
 * double. At two million calls a second it would reach the cursors of a server that is started later. */
#define PLACE_ID_BITS 21

struct place {
    uint64_t id;                    /* 0: free */
    char table[LIMIT_NAME_LEN + 1]; /* "": at the beginning */
    uint32_t wanted;                /* version asked for, or 0 */
    uint32_t version;
    uint64_t epoch;
    uint32_t source; /* of the row given last */
    uint32_t key_len;
    uint8_t key[LIMIT_TABLE_KEY_LEN]; /* of it; empty: none of this table yet */
};

struct redis_scans {
    pthread_mutex_t lock;
    uint64_t next;
    struct place places[REDIS_SCAN_PLACES];
};

struct redis_scans *redis_scans_new(void)
{
    struct redis_scans *scans = xcalloc(1, sizeof *scans);
    ASSERT(pthread_mutex_init(&scans->lock, NULL) == 0);
    /* A cursor of a server before this one is not known here. */
    scans->next = ((uint64_t)(clock_wall_ms(clock_real()) / 1000) << PLACE_ID_BITS) + 1;
    return scans;
}

void redis_scans_free(struct redis_scans *scans)
{
    (void)pthread_mutex_destroy(&scans->lock);
    free(scans);
}

static uint64_t place_keep(struct redis_scans *scans, const struct place *place)
{
    (void)pthread_mutex_lock(&scans->lock);
    uint64_t id = scans->next++;
    struct place *kept = &scans->places[id % REDIS_SCAN_PLACES];
    *kept = *place;
    kept->id = id;
    (void)pthread_mutex_unlock(&scans->lock);
    return id;
}

static bool place_find(struct redis_scans *scans, uint64_t id, struct place *out)
{
    (void)pthread_mutex_lock(&scans->lock);
    *out = scans->places[id % REDIS_SCAN_PLACES];
    (void)pthread_mutex_unlock(&scans->lock);
    return id != 0 && out->id == id;
}

/* ---- tables */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int redis_tables(struct reader *reader, json_t **out, struct err *err)
{
    json_t *versions = NULL;
    int rc = catalog_list(reader->catalog, "v/", &versions, err);
    if (rc < 0) {
        return rc;
    }
    json_t *names = json_object();
    size_t i;
    size_t j;
    json_t *item;
    json_t *table;
    json_array_foreach (versions, i, item) {
        json_array_foreach (json_object_get(json_object_get(item, "value"), "tables"), j, table) {
            struct catalog_pointer pointer;
            struct err none;
            const char *name = json_string_value(table);
            if (name != NULL && json_object_get(names, name) == NULL &&
                catalog_pointer_get(reader->catalog, name, &pointer, &none) == 0) {
                ASSERT(json_object_set_new(names, name, json_true()) == 0);
            }
        }
    }
    size_t count = 0;
    const char **sorted = xcalloc(json_object_size(names) + 1, sizeof *sorted);
    for (void *at = json_object_iter(names); at != NULL; at = json_object_iter_next(names, at)) {
        sorted[count++] = json_object_iter_key(at);
    }
    qsort(sorted, count, sizeof *sorted, compare_text);
    *out = json_array();
    for (i = 0; i < count; i++) {
        ASSERT(json_array_append_new(*out, json_string(sorted[i])) == 0);
    }
    free(sorted);
    json_decref(names);
    json_decref(versions);
    return 0;
}

/* Of the tables that were listed: a view has no stored rows, and a table may have gone since. */
static bool is_passed_over(int rc)
{
    return rc == -KE_REFUSED || rc == -KE_NOT_FOUND;
}

int redis_rows(struct redis_context *context, int64_t *out, struct err *err)
{
    json_t *tables = NULL;
    int64_t rows = 0;
    int rc = redis_tables(context->reader, &tables, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(tables); i++) {
        struct reader_read reading;
        const char *name = json_string_value(json_array_get(tables, i));
        rc = redis_reads_get(&context->reads, name, 0, &reading, err);
        if (rc == 0) {
            rows += (int64_t)view_entries(reading.snapshot, reading.table);
        }
        rc = is_passed_over(rc) ? 0 : rc;
    }
    json_decref(tables);
    *out = rows;
    return rc;
}

void redis_dbsize(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct err err = {0};
    int64_t rows = 0;
    (void)args;
    (void)count;
    int rc = redis_rows(session->context, &rows, &err);
    if (rc < 0) {
        redis_reply_err(&session->reply, &err);
    } else {
        redis_reply_int(&session->reply, rows);
    }
}

/* ---- one call */

struct scan {
    struct redis_session *session;
    const struct redis_arg *pattern; /* or NULL */
    bool hashes;                     /* TYPE hash, or none given */
    char only[LIMIT_NAME_LEN + 1];   /* the one table that MATCH names, or "" */
    uint32_t version;                /* of it */
    int64_t left;                    /* rows to go through */
    struct place place;
    bool finished;
    struct buf out;
    struct redis_reply names;
    uint64_t found;
    struct buf name; /* scratch */
};

/* The table that a pattern names in front of anything that may differ. */
static void scan_only(struct scan *scan)
{
    const struct redis_arg *pattern = scan->pattern;
    size_t plain = strcspn(pattern->text, "*?[\\");
    const char *colon = memchr(pattern->text, ':', plain);
    struct redis_key key;
    struct err none;
    if (colon != NULL &&
        redis_key_parse(pattern->text, (size_t)(colon - pattern->text), &key, &none) == 0) {
        memcpy(scan->only, key.table, sizeof scan->only);
        scan->version = key.version;
    }
}

static bool scan_options(struct scan *scan, const struct redis_arg *args, uint32_t count)
{
    int64_t rows = 10;
    for (uint32_t i = 2; i < count; i += 2) {
        if (i + 1 == count) {
            return false;
        }
        if (redis_arg_is(&args[i], "MATCH")) {
            scan->pattern = &args[i + 1];
        } else if (redis_arg_is(&args[i], "COUNT")) {
            if (!redis_arg_int(&args[i + 1], 1, INT64_MAX, &rows)) {
                return false;
            }
        } else if (redis_arg_is(&args[i], "TYPE")) {
            scan->hashes = redis_arg_is(&args[i + 1], "hash");
        } else {
            return false;
        }
    }
    scan->left = rows < REDIS_SCAN_MAX ? rows : REDIS_SCAN_MAX;
    if (scan->pattern != NULL) {
        scan_only(scan);
    }
    return true;
}

/* Does the name match, as it is or without the time of its window? */
static bool scan_wants(const struct scan *scan, size_t prefix_len)
{
    const char *name = buf_text(&scan->name);
    size_t len = scan->name.len;
    if (!scan->hashes || scan->pattern == NULL) {
        return scan->hashes;
    }
    if (redis_glob(scan->pattern->text, scan->pattern->len, name, len)) {
        return true;
    }
    const char *rest = name + prefix_len;
    if (strncmp(rest, "@t", 2) != 0) {
        return false;
    }
    rest += strcspn(rest, ":");
    char timeless[2 * LIMIT_NAME_LEN + 8 * LIMIT_TABLE_KEY_LEN];
    size_t rest_len = len - (size_t)(rest - name);
    if (prefix_len + rest_len > sizeof timeless) {
        return false;
    }
    memcpy(timeless, name, prefix_len);
    memcpy(timeless + prefix_len, rest, rest_len);
    return redis_glob(scan->pattern->text, scan->pattern->len, timeless, prefix_len + rest_len);
}

static void scan_row(struct scan *scan, const struct reader_read *reading, uint32_t number)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    const struct place *place = &scan->place;
    char prefix[LIMIT_NAME_LEN + 16];
    int len = place->wanted == 0
                  ? snprintf(prefix, sizeof prefix, "%s", place->table)
                  : snprintf(prefix, sizeof prefix, "%s@%u", place->table, place->wanted);
    uint32_t partition = place->source - reading->version->input_first[view->input];
    buf_reset(&scan->name);
    if (redis_key_print(&scan->name, prefix, view, partition, place->key, place->key_len, number) &&
        scan_wants(scan, (size_t)len)) {
        redis_reply_bulk(&scan->names, scan->name.data, scan->name.len);
        scan->found++;
    }
}

static int place_order(const struct place *place, uint32_t source, const uint8_t *key, size_t len)
{
    size_t both = len < place->key_len ? len : place->key_len;
    int order = memcmp(key, place->key, both);
    if (order == 0 && len != place->key_len) {
        order = len < place->key_len ? -1 : 1;
    }
    if (order == 0 && source != place->source) {
        order = source < place->source ? -1 : 1;
    }
    return order;
}

/* Rows behind the place: 1 there is more, 0 the table is at its end, negative. Rows of one key (those
 * of a top-N) are not parted. */
static int scan_rows(struct scan *scan, const struct reader_read *reading, struct err *err)
{
    struct place *place = &scan->place;
    uint8_t from[LIMIT_TABLE_KEY_LEN];
    memcpy(from, place->key, place->key_len);
    struct reader_range range = {.window_least = INT64_MIN,
                                 .window_most = INT64_MAX,
                                 .from = place->key_len > 0 ? from : NULL,
                                 .from_len = place->key_len};
    struct reader_cursor *cursor = NULL;
    bool resumed = place->key_len > 0;
    uint32_t number = 0;
    int rc = reader_cursor_open(scan->session->context->reader, reading, &range, &cursor, err);
    while (rc == 0) {
        const struct kappa_value *values = NULL;
        const uint8_t *key = NULL;
        uint32_t source = 0;
        size_t len = 0;
        rc = reader_cursor_next(cursor, &values, err);
        if (rc != 1) {
            break;
        }
        rc = 0;
        reader_cursor_key(cursor, &source, &key, &len);
        ASSERT_CMP(len, <=, sizeof place->key);
        int order = place->key_len == 0 ? 1 : place_order(place, source, key, len);
        if (resumed && order <= 0) {
            continue;
        }
        resumed = false;
        if (order != 0 && scan->left <= 0) {
            rc = 1;
            break;
        }
        number = order == 0 ? number + 1 : 0;
        memcpy(place->key, key, len);
        place->key_len = (uint32_t)len;
        place->source = source;
        scan_row(scan, reading, number);
        scan->left--;
    }
    reader_cursor_close(cursor);
    return rc;
}

static int scan_table(struct scan *scan, struct err *err)
{
    struct place *place = &scan->place;
    struct reader_read reading;
    bool begun = place->version != 0;
    int rc =
        redis_reads_get(&scan->session->context->reads, place->table, place->wanted, &reading, err);
    if (rc < 0) {
        return scan->only[0] == '\0' && !begun && is_passed_over(rc) ? 0 : rc;
    }
    if (begun && place->wanted == 0 &&
        (place->version != reading.version->number || place->epoch != reading.epoch)) {
        rc = err_set(err, KE_AGAIN,
                     "table %s was swapped from version %u to %u since this scan began",
                     place->table, place->version, reading.version->number);
        err_hint(err, "begin anew with SCAN 0, or scan %s@VERSION:*", place->table);
        return rc;
    }
    place->version = reading.version->number;
    place->epoch = reading.epoch;
    return scan_rows(scan, &reading, err);
}

/* The table behind this one: false, there is none. */
static bool scan_next_table(struct scan *scan, const json_t *tables)
{
    struct place next = {0};
    size_t i;
    json_t *name;
    if (scan->only[0] != '\0') {
        if (scan->place.table[0] != '\0') {
            return false;
        }
        memcpy(next.table, scan->only, sizeof next.table);
        next.wanted = scan->version;
        scan->place = next;
        return true;
    }
    json_array_foreach (tables, i, name) {
        const char *text = json_string_value(name);
        if (strcmp(text, scan->place.table) > 0 && strlen(text) <= LIMIT_NAME_LEN) {
            memcpy(next.table, text, strlen(text));
            scan->place = next;
            return true;
        }
    }
    return false;
}

static int scan_run(struct scan *scan, struct err *err)
{
    json_t *tables = NULL;
    int rc = scan->only[0] != '\0' ? 0 : redis_tables(scan->session->context->reader, &tables, err);
    while (rc == 0) {
        if (scan->place.table[0] == '\0' && !scan_next_table(scan, tables)) {
            scan->finished = true;
            break;
        }
        rc = scan_table(scan, err);
        if (rc == 0 && !scan_next_table(scan, tables)) {
            scan->finished = true;
            break;
        }
        if (rc == 0 && scan->left <= 0) {
            break;
        }
    }
    json_decref(tables);
    return rc < 0 ? rc : 0;
}

static void scan_reply(struct scan *scan)
{
    struct redis_reply *reply = &scan->session->reply;
    char cursor[24] = "0";
    if (!scan->finished) {
        uint64_t id = place_keep(scan->session->context->scans, &scan->place);
        (void)snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)id);
    }
    redis_reply_array(reply, 2);
    redis_reply_text(reply, cursor);
    redis_reply_array(reply, scan->found);
    buf_append(reply->out, buf_text(&scan->out), scan->out.len);
}

void redis_scan(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct scan scan = {.session = session, .hashes = true};
    struct err err = {0};
    int64_t cursor = 0;
    scan.names = (struct redis_reply){.out = &scan.out, .protocol = session->reply.protocol};
    if (!redis_arg_int(&args[1], 0, INT64_MAX, &cursor)) {
        redis_reply_error(&session->reply, "ERR invalid cursor");
        return;
    }
    if (!scan_options(&scan, args, count)) {
        redis_reply_error(&session->reply, "ERR syntax error: SCAN cursor [MATCH pattern] [COUNT "
                                           "n] [TYPE hash]");
        return;
    }
    if (cursor != 0 && !place_find(session->context->scans, (uint64_t)cursor, &scan.place)) {
        redis_reply_error(&session->reply, "ERR this cursor is not known, or not any more: begin "
                                           "anew with SCAN 0");
        return;
    }
    int rc = scan_run(&scan, &err);
    if (rc < 0) {
        redis_reply_err(&session->reply, &err);
    } else {
        scan_reply(&scan);
    }
    buf_free(&scan.out);
    buf_free(&scan.name);
}
