/* The answer to a statement as JSON, written as the rows come:
 *
 *     {"columns":[{"name","type"}],"rows":[
 *     [value, ...],
 *     [value, ...]
 *     ],"truncated":false,"stamps":[{"processor","version","epoch","cut"}]}
 *
 * One row a line, so that it can also be read line by line. */
#ifndef KAPPA_SERVE_QUERY_ANSWER_H
#define KAPPA_SERVE_QUERY_ANSWER_H

#include "serve/query.h"

struct query_answer {
    struct buf *out; /* the caller may take away what is there between two calls */
    uint64_t rows;
};

void query_answer_columns(struct query_answer *answer, const struct query_column *columns,
                          uint32_t count);
void query_answer_row(struct query_answer *answer, const struct query_value *values,
                      uint32_t count);
void query_answer_end(struct query_answer *answer, bool truncated, const json_t *stamps);

#endif
