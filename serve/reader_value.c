/* Rows and their values as JSON. Own header: reader.h. */
#include "processor/value_text.h"
#include "serve/reader_inner.h"

#include <math.h>
#include <string.h>

static json_t *double_json(double d)
{
    if (isnan(d)) {
        return json_string("NaN");
    }
    if (isinf(d)) {
        return json_string(d > 0 ? "Infinity" : "-Infinity");
    }
    return json_real(d);
}

/* Exact numbers and documents as they are; times and other types that JSON has not as their text. */
static json_t *text_json(const struct kappa_value *value)
{
    if (kappa_type_is_array(value->type)) {
        struct buf json = {0};
        value_json(&json, value);
        json_t *raw = json_raw(buf_text(&json), json.len);
        buf_free(&json);
        return raw;
    }
    bool plain = value->type == KAPPA_TYPE_NUMERIC || value->type == KAPPA_TYPE_REAL ||
                 value->type == KAPPA_TYPE_JSONB;
    struct buf text = {0};
    value_text(&text, value);
    json_t *made =
        plain ? json_raw(buf_text(&text), text.len) : json_text_lossy(buf_text(&text), text.len);
    buf_free(&text);
    return made;
}

json_t *reader_value_json(const struct kappa_value *value)
{
    if (value->is_null) {
        return json_null();
    }
    bool real = kappa_type_payload(value->type) == KAPPA_PAYLOAD_DOUBLE;
    switch ((unsigned)value->type) {
    case KAPPA_TYPE_NULL:
        return json_null();
    case KAPPA_TYPE_BOOLEAN:
        return json_boolean(value->i != 0);
    case KAPPA_TYPE_SMALLINT:
    case KAPPA_TYPE_INTEGER:
    case KAPPA_TYPE_BIGINT:
        return json_integer(value->i);
    case KAPPA_TYPE_TEXT:
        return json_text_lossy(value->s.bytes, value->s.len);
    default:
        return real && (value->type == KAPPA_TYPE_DOUBLE || !isfinite(value->d))
                   ? double_json(value->d)
                   : text_json(value);
    }
}

void reader_value_write(struct buf *out, const struct kappa_value *value)
{
    switch (value->is_null ? 0 : (unsigned)value->type) {
    case KAPPA_TYPE_BOOLEAN:
        buf_append_text(out, value->i != 0 ? "true" : "false");
        return;
    case KAPPA_TYPE_SMALLINT:
    case KAPPA_TYPE_INTEGER:
    case KAPPA_TYPE_BIGINT:
        json_write_int(out, value->i);
        return;
    case KAPPA_TYPE_TEXT:
        json_write_text(out, value->s.bytes, value->s.len);
        return;
    case KAPPA_TYPE_DATE:
    case KAPPA_TYPE_TIMESTAMP:
    case KAPPA_TYPE_TIMESTAMPTZ:
        buf_append_u8(out, '"');
        value_text(out, value);
        buf_append_u8(out, '"');
        return;
    case KAPPA_TYPE_DOUBLE:
        if (isfinite(value->d)) {
            json_write_real(out, value->d);
            return;
        }
        break;
    default:
        break;
    }
    json_t *json = reader_value_json(value);
    json_write(out, json);
    json_decref(json);
}

json_t *reader_row_json(const struct plan_view *view, const struct kappa_value *values)
{
    json_t *row = json_object();
    for (uint32_t i = 0; i < view->output_count; i++) {
        ASSERT(json_object_set_new(row, view->outputs[i].name, reader_value_json(&values[i])) == 0);
    }
    return row;
}

void reader_row_write(struct buf *out, const struct plan_view *view,
                      const struct kappa_value *values)
{
    for (uint32_t i = 0; i < view->output_count; i++) {
        const struct plan_output *output = &view->outputs[i];
        buf_append_u8(out, i == 0 ? '{' : ',');
        if (output->label != NULL) {
            buf_append(out, output->label, output->label_len);
        } else {
            json_write_text(out, output->name, strlen(output->name));
            buf_append_u8(out, ':');
        }
        reader_value_write(out, &values[i]);
    }
    buf_append_text(out, view->output_count == 0 ? "{}" : "}");
}
