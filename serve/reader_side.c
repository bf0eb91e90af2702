/* Own header: reader_side.h. */
#include "serve/reader_side.h"

#include <string.h>

bool reader_sources_alike(const struct reader_version *a, const struct reader_version *b)
{
    bool same = a->source_count == b->source_count;
    for (uint32_t i = 0; same && i < a->source_count; i++) {
        same = a->sources[i].partition == b->sources[i].partition &&
               strcmp(a->sources[i].topic, b->sources[i].topic) == 0;
    }
    return same;
}

int reader_side_open(struct reader *reader, const struct reader_read *reading,
                     const struct reader_range *range, struct reader_side *side, struct err *err)
{
    *side = (struct reader_side){
        .version = reading->version,
        .view = &reading->version->plan->views[reading->table],
    };
    return reader_cursor_open(reader, reading, range, &side->cursor, err);
}

int reader_side_next(struct reader_side *side, struct err *err)
{
    int rc = reader_cursor_next(side->cursor, &side->values, err);
    side->at_hand = rc == 1;
    if (rc == 1) {
        uint32_t source = 0;
        bool append = side->view->kind == PLAN_APPEND;
        reader_cursor_key(side->cursor, &source, &side->key, &side->key_len);
        side->partition = append ? side->version->sources[source].partition : 0;
        side->number = append || side->view->top == NULL ? 0 : reader_cursor_number(side->cursor);
    }
    return rc;
}

static int order_of(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int reader_side_order(const struct reader_side *a, const struct reader_side *b)
{
    if (!a->at_hand || !b->at_hand) {
        return (int)b->at_hand - (int)a->at_hand;
    }
    int order = bytes_order(a->key, a->key_len, b->key, b->key_len);
    order = order == 0 ? order_of(a->partition, b->partition) : order;
    return order == 0 ? order_of(a->number, b->number) : order;
}

void reader_side_close(struct reader_side *side)
{
    reader_cursor_close(side->cursor);
    *side = (struct reader_side){0};
}
