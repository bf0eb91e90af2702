/* The outbox of a version: straight from the reader. Own header: routes_private.h. */
#include "serve/reader.h"
#include "serve/routes_private.h"

#define SEGMENT_PROCESSOR 2 /* of /v1/processors/P/outbox */
#define LIMIT_DEFAULT     100
#define LIMIT_MAX         10000

int route_outbox(const struct route_context *context, const struct route_request *request,
                 struct route_answer *answer, struct err *err)
{
    int64_t limit = -1;
    uint32_t version = 0;
    json_t *messages = NULL;
    if (context->reader == NULL) {
        return err_set(err, KE_CLOSED, "no outbox can be read: the server has no data directory");
    }
    int rc = route_query_int(request, "limit", 0, LIMIT_MAX, LIMIT_DEFAULT, &limit, err);
    if (rc == 0) {
        rc = route_version_asked(request, &version, err);
    }
    if (rc == 0) {
        rc = reader_outbox(context->reader, request->segments[SEGMENT_PROCESSOR], version, limit,
                           &messages, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *body = json_pack("{s:o}", "messages", messages);
    route_answer_json(answer, body);
    json_decref(body);
    return 0;
}
