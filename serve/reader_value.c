/* One value of a row as JSON. Own header: reader.h. */
#include "base/timefmt.h"
#include "serve/reader_inner.h"

#include <math.h>

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

json_t *reader_value_json(const struct kappa_value *value)
{
    char time[TIME_TEXT_LEN];
    if (value->is_null) {
        return json_null();
    }
    if (value->type == KAPPA_TYPE_BOOLEAN) {
        return json_boolean(value->i != 0);
    }
    if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        time_format(value->i, time);
        return json_string(time);
    }
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_INT:
        return json_integer(value->i);
    case KAPPA_PAYLOAD_DOUBLE:
        return double_json(value->d);
    case KAPPA_PAYLOAD_BYTES:
        return json_text_lossy(value->s.bytes, value->s.len);
    case KAPPA_PAYLOAD_NUMERIC:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return json_null();
}
