/* The handlers behind the route table: routes.c names them, routes_*.c hold them. */
#ifndef KAPPA_SERVE_ROUTES_PRIVATE_H
#define KAPPA_SERVE_ROUTES_PRIVATE_H

#include "serve/query.h"
#include "serve/reader.h"
#include "serve/routes.h"

/* More of an answer than this goes to a file. */
#define ROUTE_SPILL_BYTES       (1U << 20)
/* A GET on a topic ends here: it says where to go on. */
#define ROUTE_RECORDS_BYTES_MAX (64U << 20)
/* Records of one GET on a topic: what is asked when limit is not given, and the most. */
#define ROUTE_RECORDS_DEFAULT   1000
#define ROUTE_RECORDS_MAX       100000

/* What can be counted of them: columns of a key. */
#define ROUTE_KEYS_MAX 28

/* routes_tables.c */
int route_reader_needed(const struct route_context *context, struct err *err) must_check;
/* The member "version" of a body, or 0: the one that serves. */
int route_version_json(const json_t *body, uint32_t *version, struct err *err) must_check;
/* The parameter "version", or 0: the one that serves. */
int route_version_asked(const struct route_request *request, uint32_t *version,
                        struct err *err) must_check;
/* CLOSED when the server stops (context->stop): long answers ask now and then. */
int route_stopped(const bool *stop, struct err *err) must_check;
/* The headers X-Kappa-Version, -Epoch and -Cut. */
void route_stamp(struct route_answer *answer, const struct reader_stamp *stamp);
/* The same as the beginning of a body: {"table":..,"version":..,"epoch":..,"cut":.. */
void route_stamp_body(struct buf *body, const char *table, const struct reader_stamp *stamp);
/* Was it refused (rc) because it is a view? Then err is cleared. */
bool route_is_view(const struct route_context *context, const char *name, uint32_t version, int rc,
                   struct err *err);
/* Rows of a view by keys, as of a read that is one of it (its table is PLAN_NONE); name as it was asked for.
 * The caller closes the rows and gives the query back. REFUSED when there is no read-time SQL here. */
int route_view_rows(const struct route_context *context, const char *name,
                    const struct reader_read *reading, struct query **query,
                    struct query_rows **out, struct err *err) must_check;
int route_row(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err);
int route_view(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);
int route_late(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);
int route_dead(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);

/* routes_scan.c */
int route_rows(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);

/* routes_get.c */
int route_get_many(const struct route_context *context, const struct route_request *request,
                   struct route_answer *answer, struct err *err);

/* A key's values as the texts that reader_row_find_text takes; JSON values of one key, or one value. */
struct route_key {
    char *texts[ROUTE_KEYS_MAX]; /* owned */
    uint32_t count;
};

/* 1 a key, 0 it holds a null and so names no row, or INVALID. */
int route_key_read(const json_t *values, struct route_key *out, struct err *err) must_check;
void route_key_free(struct route_key *key);
/* A time of a body: text as in route_time, or ms. */
int route_time_json(const json_t *value, int64_t *us, struct err *err) must_check;

/* routes_features.c */
int route_features(const struct route_context *context, const struct route_request *request,
                   struct route_answer *answer, struct err *err);

/* dashboard.c */
int route_dashboard(const struct route_context *context, const struct route_request *request,
                    struct route_answer *answer, struct err *err);

int route_openapi(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err);

/* routes_outbox.c */
int route_outbox(const struct route_context *context, const struct route_request *request,
                 struct route_answer *answer, struct err *err);

/* routes_sql.c */
int route_sql(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err);
int route_tables(const struct route_context *context, const struct route_request *request,
                 struct route_answer *answer, struct err *err);

/* routes_topics.c */
int route_topic_list(const struct route_context *context, const struct route_request *request,
                     struct route_answer *answer, struct err *err);
int route_archive(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err);
int route_topic_create(const struct route_context *context, const struct route_request *request,
                       struct route_answer *answer, struct err *err);
int route_topic_produce(const struct route_context *context, const struct route_request *request,
                        struct route_answer *answer, struct err *err);
int route_topic_read(const struct route_context *context, const struct route_request *request,
                     struct route_answer *answer, struct err *err);

/* The body as a JSON object; an empty body is {}. A new reference. */
int route_body_object(const struct route_request *request, json_t **out,
                      struct err *err) must_check;
/* A member that is a whole number from least to most; *out stays when it is null or not there. */
int route_body_int(const json_t *body, const char *name, int64_t least, int64_t most, int64_t *out,
                   struct err *err) must_check;

#endif
