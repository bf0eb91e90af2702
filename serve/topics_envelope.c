/* A record from one JSON object, as `kappa cat -J` writes it. Own header: topics.h. */
#include "serve/topics_private.h"

#include "base/json.h"
#include "serve/json_line.h"

#include <string.h>

static bool is_null(const char *value, size_t len)
{
    return len == 4 && memcmp(value, "null", 4) == 0;
}

/* 1: the member is there and not null; 0: it is not. */
static int member(const char *text, size_t len, const char *name, const char **value,
                  size_t *value_len)
{
    struct err err = {0};
    int rc = json_line_field(text, len, name, value, value_len, &err);
    return rc == 0 && !is_null(*value, *value_len);
}

static int fill_key(struct topic_sink *sink, const char *text, size_t len,
                    struct kappa_record *record, struct err *err)
{
    const char *value;
    size_t value_len;
    bool null;
    if (!member(text, len, "key", &value, &value_len)) {
        return 0;
    }
    int rc = json_line_key(text, len, "key", &sink->key, &null, err);
    if (rc == 0) {
        record->key = (const uint8_t *)buf_text(&sink->key);
        record->key_len = u32_from(sink->key.len);
    }
    return rc;
}

/* An object or array stands there as it is; a string is the value's text; null is a tombstone. */
static int fill_value(struct topic_sink *sink, const char *text, size_t len,
                      struct kappa_record *record, struct err *err)
{
    const char *value;
    size_t value_len;
    bool null;
    int rc = json_line_field(text, len, "value", &value, &value_len, err);
    if (rc < 0 || is_null(value, value_len)) {
        return rc;
    }
    if (*value == '{' || *value == '[') {
        record->value = (const uint8_t *)value;
        record->value_len = u32_from(value_len);
        return 0;
    }
    rc = json_line_key(text, len, "value", &sink->value, &null, err);
    if (rc == 0) {
        buf_reserve(&sink->value, KAPPA_RECORD_TAIL);
        record->value = sink->value.data;
        record->value_len = u32_from(sink->value.len);
    }
    return rc;
}

static bool add_header(struct buf *out, const json_t *pair)
{
    const json_t *name = json_array_get(pair, 0);
    const json_t *value = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_string(name) ||
        (!json_is_string(value) && !json_is_null(value))) {
        return false;
    }
    buf_append_u32_le(out, u32_from(json_string_length(name)));
    buf_append(out, json_string_value(name), json_string_length(name));
    if (json_is_null(value)) {
        buf_append_u32_le(out, KAPPA_NULL_LEN);
        return true;
    }
    buf_append_u32_le(out, u32_from(json_string_length(value)));
    buf_append(out, json_string_value(value), json_string_length(value));
    return true;
}

static int fill_headers(struct topic_sink *sink, const char *text, size_t len,
                        struct kappa_record *record, struct err *err)
{
    const char *value;
    size_t value_len;
    if (!member(text, len, "headers", &value, &value_len)) {
        return 0;
    }
    json_t *headers = json_loadb(value, value_len, JSON_ALLOW_NUL, NULL);
    bool good = json_is_array(headers);
    buf_reset(&sink->headers);
    for (size_t i = 0; good && i < json_array_size(headers); i++) {
        good = add_header(&sink->headers, json_array_get(headers, i));
    }
    json_decref(headers);
    if (!good) {
        return err_set(err, KE_INVALID, "\"headers\" is not a list as [[\"name\",\"value\"]]");
    }
    record->headers = sink->headers.data;
    record->headers_len = u32_from(sink->headers.len);
    return 0;
}

/* "base64": which of key and value stand there so. */
static int undo_base64(struct topic_sink *sink, const char *text, size_t len,
                       struct kappa_record *record, struct err *err)
{
    const char *names;
    size_t names_len;
    if (!member(text, len, "base64", &names, &names_len)) {
        return 0;
    }
    json_t *list = json_loadb(names, names_len, 0, NULL);
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        bool key = name != NULL && strcmp(name, "key") == 0;
        bool value = name != NULL && strcmp(name, "value") == 0;
        struct buf *bytes = key ? &sink->key : &sink->value;
        bool there =
            key ? record->key_len != KAPPA_NULL_LEN
                : value && record->value == bytes->data && record->value_len != KAPPA_NULL_LEN;
        good = there && buf_decode_base64(bytes);
        if (good && key) {
            record->key_len = u32_from(bytes->len);
        } else if (good) {
            record->value_len = u32_from(bytes->len);
        }
    }
    json_decref(list);
    return good ? 0
                : err_set(
                      err, KE_INVALID,
                      "\"base64\" is not a list of \"key\" and \"value\", or they are no base64");
}

int topic_envelope_fill(struct topic_sink *sink, const char *text, size_t len,
                        struct kappa_record *record, struct err *err)
{
    const char *value;
    size_t value_len;
    int rc = json_line_field(text, len, "value", &value, &value_len, err);
    if (rc < 0) {
        return rc;
    }
    rc = fill_key(sink, text, len, record, err);
    rc = rc == 0 ? fill_value(sink, text, len, record, err) : rc;
    rc = rc == 0 ? undo_base64(sink, text, len, record, err) : rc;
    rc = rc == 0 ? fill_headers(sink, text, len, record, err) : rc;
    if (rc == 0 && member(text, len, "time", &value, &value_len)) {
        rc = json_line_time(text, len, "time", &record->time_ms, err);
    }
    return rc;
}
