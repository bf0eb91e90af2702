/* The definition that `kappa rekey` deploys. Own header: rekey.h.
 *
 * Records are read raw, so that their bytes reach the new topic as they are; only the key is looked up
 * in them, as in JSON. */
#include "cli/rekey.h"

#include <string.h>

/* Quoted as SQL wants it, by ' or ". */
static void quoted(struct buf *out, char quote, const char *text, size_t len)
{
    buf_append_u8(out, (uint8_t)quote);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == quote) {
            buf_append_u8(out, (uint8_t)quote);
        }
        buf_append_u8(out, (uint8_t)text[i]);
    }
    buf_append_u8(out, (uint8_t)quote);
}

static void literal(struct buf *out, const char *text)
{
    quoted(out, '\'', text, strlen(text));
}

/* a.b: CAST(message AS jsonb) -> 'a' ->> 'b'; not as text: -> 'b' */
static void path_expression(struct buf *out, const char *path, bool as_text)
{
    buf_append_text(out, "CAST(message AS jsonb)");
    for (const char *at = path;;) {
        size_t len = strcspn(at, ".");
        bool last = at[len] == '\0';
        buf_append_text(out, last && as_text ? " ->> " : " -> ");
        quoted(out, '\'', at, len);
        if (last) {
            return;
        }
        at += len + 1;
    }
}

/* A tombstone has no fields but its own key: that text, or what is in it where it is JSON. */
static void key_expression(struct buf *out, const char *path)
{
    const char *dot = strrchr(path, '.');
    buf_append_text(out, "CASE WHEN message IS NOT NULL THEN ");
    path_expression(out, path, true);
    buf_append_text(out, "\n    WHEN record_key() LIKE '{%' THEN CAST(record_key() AS jsonb) ->> ");
    literal(out, dot == NULL ? path : dot + 1);
    buf_append_text(out,
                    "\n    WHEN record_key() LIKE '\"%' THEN CAST(record_key() AS jsonb) #>> '{}'"
                    "\n    ELSE record_key() END");
}

struct unit {
    const char *name;
    const char *per_second;
};

static const struct unit units[] = {
    {"s", "1"}, {"ms", "1000"}, {"us", "1000000"}, {"ns", "1000000000"}};

static const struct unit *unit_find(const char *name)
{
    for (size_t i = 0; i < array_len(units); i++) {
        if (strcmp(units[i].name, name == NULL ? "ms" : name) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* A number counts units since 1970, a text is read as a time. */
static void time_expression(struct buf *out, const struct rekey *rekey)
{
    buf_append_text(
        out, ",\n  CASE WHEN message IS NULL THEN record_timestamp()\n    WHEN jsonb_typeof(");
    const struct unit *unit = unit_find(rekey->time_unit);
    ASSERT(unit != NULL);
    path_expression(out, rekey->time, false);
    buf_append_text(out, ") = 'number'\n    THEN to_timestamp(CAST(");
    path_expression(out, rekey->time, true);
    buf_printf(out, " AS double precision) / %s)\n    ELSE CAST(", unit->per_second);
    path_expression(out, rekey->time, true);
    buf_append_text(out, " AS timestamptz) END");
}

/* The name of the column with the time: not that of the key, which may be the same field. */
static void time_column(struct buf *out, char quote, const struct rekey *rekey)
{
    struct buf name = {0};
    buf_printf(&name, "%s (time)", rekey->time);
    quoted(out, quote, buf_text(&name), name.len);
    buf_free(&name);
}

/* NULL, or a path. */
static int check_path(const char *option, const char *path, struct err *err)
{
    size_t len = path == NULL ? 0 : strlen(path);
    if (path == NULL ||
        (len > 0 && path[0] != '.' && path[len - 1] != '.' && strstr(path, "..") == NULL)) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "--%s %s names no column", option, path);
    err_hint(err, "write --%s user_id, or --%s user.id for a member of the object user", option,
             option);
    return rc;
}

static int check(const struct rekey *rekey, struct err *err)
{
    for (int i = 0; i < rekey->topic_count; i++) {
        if (strcmp(rekey->topics[i], rekey->into) == 0) {
            return err_set(err, KE_INVALID, "%s cannot be brought into itself", rekey->into);
        }
        for (int k = 0; k < i; k++) {
            if (strcmp(rekey->topics[i], rekey->topics[k]) == 0) {
                return err_set(err, KE_INVALID, "topic %s is named twice", rekey->topics[i]);
            }
        }
    }
    if (unit_find(rekey->time_unit) == NULL) {
        int rc = err_set(err, KE_INVALID, "--time-unit %s is no unit", rekey->time_unit);
        err_hint(err, "units: s, ms, us, ns");
        return rc;
    }
    if (rekey->idle != NULL && !rekey->marks) {
        int rc = err_set(err, KE_INVALID,
                         "--idle says which partitions the marks pass by, and "
                         "there are none");
        err_hint(err, "add --marks");
        return rc;
    }
    int rc = check_path("key", rekey->key, err);
    return rc == 0 ? check_path("time", rekey->time, err) : rc;
}

static void target_write(const struct rekey *rekey, struct buf *out)
{
    const char *key = rekey->key == NULL ? "record_key()" : rekey->key;
    buf_append_text(out, "CREATE TABLE target (");
    quoted(out, '"', key, strlen(key));
    buf_printf(out, " text%s, message text, \"%s\" text", rekey->key == NULL ? "" : " NOT NULL",
               REKEY_FROM);
    if (rekey->time != NULL) {
        buf_append_text(out, ", ");
        time_column(out, '"', rekey);
        buf_append_text(out, " timestamptz NOT NULL");
    }
    buf_append_text(out, ")\n  WITH (topic = ");
    literal(out, rekey->into);
    buf_append_text(out, ", format = 'raw', key = ");
    literal(out, key);
    buf_printf(out, ", headers = '%s', record_headers = 'keep'", REKEY_FROM);
    if (rekey->time != NULL) {
        buf_append_text(out, ",\n    time = ");
        time_column(out, '\'', rekey);
    }
    if (rekey->marks) {
        buf_append_text(out, ",\n    marks = 'on'");
    }
    if (rekey->idle != NULL) {
        buf_append_text(out, ", idle = ");
        literal(out, rekey->idle);
    }
    buf_append_text(out, ");\n");
}

int rekey_definition(const struct rekey *rekey, struct buf *out, struct err *err)
{
    int rc = check(rekey, err);
    if (rc < 0) {
        return rc;
    }
    buf_append_text(out,
                    "-- Made by kappa rekey: records as they are, in a topic by another key.\n");
    for (int i = 0; i < rekey->topic_count; i++) {
        buf_printf(out, "CREATE TABLE source_%d (message text) WITH (topic = ", i + 1);
        literal(out, rekey->topics[i]);
        buf_append_text(out, ", format = 'raw');\n");
    }
    target_write(rekey, out);
    for (int i = 0; i < rekey->topic_count; i++) {
        buf_append_text(out, "INSERT INTO target SELECT ");
        if (rekey->key == NULL) {
            buf_append_text(out, "record_key()");
        } else {
            key_expression(out, rekey->key);
        }
        buf_append_text(out, ", message, ");
        literal(out, rekey->topics[i]);
        if (rekey->time != NULL) {
            time_expression(out, rekey);
        }
        buf_printf(out, " FROM source_%d;\n", i + 1);
    }
    return 0;
}
