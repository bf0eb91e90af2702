/* Own header: query_answer.h. */
#include "serve/query_answer.h"

#include <string.h>

static void append_text(struct buf *out, const char *text)
{
    struct query_value value = {.kind = QUERY_TEXT, .bytes = text, .len = strlen(text)};
    query_value_json(out, &value);
}

void query_answer_columns(struct query_answer *answer, const struct query_column *columns,
                          uint32_t count)
{
    buf_append_text(answer->out, "{\"columns\":[");
    for (uint32_t i = 0; i < count; i++) {
        buf_append_text(answer->out, i == 0 ? "{\"name\":" : ",{\"name\":");
        append_text(answer->out, columns[i].name);
        buf_append_text(answer->out, ",\"type\":");
        append_text(answer->out, columns[i].type);
        buf_append_u8(answer->out, '}');
    }
    buf_append_text(answer->out, "],\"rows\":[");
}

void query_answer_row(struct query_answer *answer, const struct query_value *values, uint32_t count)
{
    buf_append_text(answer->out, answer->rows++ == 0 ? "\n[" : ",\n[");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_u8(answer->out, ',');
        }
        query_value_json(answer->out, &values[i]);
    }
    buf_append_u8(answer->out, ']');
}

void query_answer_end(struct query_answer *answer, bool truncated, const json_t *stamps)
{
    buf_printf(answer->out, "\n],\"truncated\":%s,\"stamps\":", truncated ? "true" : "false");
    json_write(answer->out, stamps);
    buf_append_text(answer->out, "}\n");
}
