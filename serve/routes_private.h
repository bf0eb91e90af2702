/* The handlers behind the route table: routes.c names them, routes_*.c hold them. */
#ifndef KAPPA_SERVE_ROUTES_PRIVATE_H
#define KAPPA_SERVE_ROUTES_PRIVATE_H

#include "serve/routes.h"

/* More of an answer than this goes to a file. */
#define ROUTE_SPILL_BYTES       (1U << 20)
/* A GET on a topic ends here: it says where to go on. */
#define ROUTE_RECORDS_BYTES_MAX (64U << 20)
/* Records of one GET on a topic: what is asked when limit is not given, and the most. */
#define ROUTE_RECORDS_DEFAULT   1000
#define ROUTE_RECORDS_MAX       100000

/* routes_tables.c */
int route_row(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err);
int route_view(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);
int route_rows(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);
int route_late(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err);
int route_dead(const struct route_context *context, const struct route_request *request,
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
int route_topic_create(const struct route_context *context, const struct route_request *request,
                       struct route_answer *answer, struct err *err);
int route_topic_produce(const struct route_context *context, const struct route_request *request,
                        struct route_answer *answer, struct err *err);
int route_topic_read(const struct route_context *context, const struct route_request *request,
                     struct route_answer *answer, struct err *err);

/* The body as a JSON object; an empty body is {}. A new reference. */
int route_body_object(const struct route_request *request, json_t **out,
                      struct err *err) must_check;

#endif
