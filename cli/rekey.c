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

/* a.b: CAST(message AS jsonb) -> 'a' ->> 'b' */
static void key_expression(struct buf *out, const char *key)
{
    buf_append_text(out, "CAST(message AS jsonb)");
    for (const char *at = key;;) {
        size_t len = strcspn(at, ".");
        bool last = at[len] == '\0';
        buf_append_text(out, last ? " ->> " : " -> ");
        quoted(out, '\'', at, len);
        if (last) {
            return;
        }
        at += len + 1;
    }
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
    const char *key = rekey->key;
    if (key == NULL) {
        return 0;
    }
    size_t len = strlen(key);
    if (len == 0 || key[0] == '.' || key[len - 1] == '.' || strstr(key, "..") != NULL) {
        int rc = err_set(err, KE_INVALID, "--key %s names no column", key);
        err_hint(err, "write --key user_id, or --key user.id for a member of the object user");
        return rc;
    }
    return 0;
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
    const char *key = rekey->key == NULL ? "record_key()" : rekey->key;
    buf_append_text(out, "CREATE TABLE target (");
    quoted(out, '"', key, strlen(key));
    buf_printf(out, " text%s, message text, \"%s\" text)\n  WITH (topic = ",
               rekey->key == NULL ? "" : " NOT NULL", REKEY_FROM);
    literal(out, rekey->into);
    buf_append_text(out, ", format = 'raw', key = ");
    literal(out, key);
    buf_printf(out, ", headers = '%s', record_headers = 'keep');\n", REKEY_FROM);
    for (int i = 0; i < rekey->topic_count; i++) {
        buf_append_text(out, "INSERT INTO target SELECT ");
        if (rekey->key == NULL) {
            buf_append_text(out, "record_key()");
        } else {
            key_expression(out, rekey->key);
        }
        buf_append_text(out, ", message, ");
        literal(out, rekey->topics[i]);
        buf_printf(out, " FROM source_%d;\n", i + 1);
    }
    return 0;
}
