/* The routes of the HTTP API, free of any HTTP library: a decoded request in, an answer out, or a
 * call for the controller.
 *
 *     route_find -> route->answer(...)                        answered at once
 *                -> route_call(...) -> route->render(...)     asked of the controller
 *
 * Every error is {"error":{"code","message","hint"}} with the status of base/errors.def. */
#ifndef KAPPA_SERVE_ROUTES_H
#define KAPPA_SERVE_ROUTES_H

#include "base/buf.h"
#include "base/err.h"
#include "base/histogram.h"
#include "serve/http.h"
#include "serve/people.h"

#define ROUTE_SEGMENTS_MAX 32 /* of a path: four fixed words and the key columns */
#define ROUTE_QUERY_MAX    40 /* parameters; a key may be given by one for each of its columns */
#define ROUTE_HEADERS_MAX  8  /* extra headers of an answer */

/* As the verb of a route without an answer: a stream of the status, see http_stream.h. */
#define ROUTE_STREAM  HTTP_VERB_COUNT
#define ROUTE_CHANGES (HTTP_VERB_COUNT + 1) /* likewise the changes of a table, see feed.h */

/* A request, decoded. Everything is borrowed. */
struct route_request {
    const char *method; /* "GET" also for HEAD */
    const char *segments[ROUTE_SEGMENTS_MAX];
    uint32_t segment_count;

    struct {
        const char *name;
        const char *value;
    } query[ROUTE_QUERY_MAX];

    uint32_t query_count;
    const char *if_none_match; /* header, or NULL */
    const uint8_t *body; /* a NUL and KAPPA_RECORD_TAIL readable bytes follow; NULL when empty */
    size_t body_len;
};

struct route_answer {
    int status;
    const char *type; /* content type, static */
    struct buf body;
    int spill;        /* unlinked file that holds the body's beginning, or -1 */
    uint64_t spilled; /* bytes in it */

    struct {
        const char *name; /* static */
        size_t value;     /* where it begins in header_values */
    } headers[ROUTE_HEADERS_MAX];

    struct buf header_values; /* each with its NUL */

    uint32_t header_count;
    bool tagged; /* has an ETag: who has it may keep it and ask again */
    bool later;  /* throw this away and ask the route's slow function in a thread of its own */
};

/* What the server has done so far; counted by http.c. */
#define ROUTES_MAX 64

/* What /metrics shows of the server itself. */
struct route_counters {
    uint64_t answers[6];                  /* by first digit of the status; [0] unused */
    struct histogram took[ROUTES_MAX];    /* by route_number: from the headers to the answer */
    const struct redis_counters *redis;   /* of the other door, or NULL */
    const struct feed_counters *feeds;    /* of changes of tables, or NULL */
    const char *data;                     /* the data directory, or NULL */
    const struct people_counters *people; /* of who was not let in; NULL: everybody is */
    struct archiver *archiver;            /* or NULL: what it tells of archives */
    struct reader *reader;                /* or NULL: what its reads have shown of canaries */
};

struct route_context {
    struct reader *reader;      /* or NULL */
    struct query_pool *queries; /* or NULL: connections of read-time SQL */
    struct log *log;            /* or NULL */
    const char *archive;        /* folder of archives, or NULL */
    const bool *stop;           /* set when the server stops: long answers break off. Atomic */
};

/* What the content type of a POST must be. */
enum route_body {
    ROUTE_BODY_JSON,  /* one JSON object */
    ROUTE_BODY_LINES, /* NDJSON, or a JSON object */
    ROUTE_BODY_ANY    /* JSON by whatever name: it changes nothing, and clients do not say */
};

struct route {
    const char *method;
    const char *path;  /* '*' is one segment, a last "**" one or more */
    const char *query; /* names of the parameters allowed, with commas */
    uint32_t roles;    /* of people.h: who asks needs one of them; 0: nobody is asked who he is */
    /* Answers at once: 0 or a negative code, then the answer is thrown away. NULL: a control call
     * of this verb, whose body is rendered by render (NULL: as it is). */
    int (*answer)(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err);
    void (*render)(json_t *body, const struct route_counters *counters,
                   struct route_answer *answer);
    enum http_verb verb;
    int status; /* when all is well */
    bool slow;  /* answer may take long or wait for a broker: a thread of its own runs it */
    enum route_body body;
    /* What an answer that says `later` is taken from; else NULL. */
    int (*slowly)(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err);
};

/* Splits a path into decoded segments, in place. INVALID: too many, bad escapes, NUL, not UTF-8. */
int route_split(char *path, struct route_request *request, struct err *err) must_check;
/* Undoes %XX in place. Same errors. */
int route_unescape(char *text, struct err *err) must_check;

/* The route of a request. NOT_FOUND; or INVALID with *allow naming the methods that the path has;
 * or INVALID for a parameter that the route does not know. */
int route_find(const struct route_request *request, const struct route **out, const char **allow,
               struct err *err) must_check;

/* A number of the route below ROUTES_MAX, and the route of one; NULL above the last. */
uint32_t route_number(const struct route *route);
const struct route *route_numbered(uint32_t number);

/* What a control route asks. *body is a new reference or NULL. */
int route_call(const struct route *route, const struct route_request *request,
               const char **processor, uint32_t *version, json_t **body,
               struct err *err) must_check;

void route_answer_init(struct route_answer *answer, int status);
void route_answer_free(struct route_answer *answer);
void route_answer_header(struct route_answer *answer, const char *name, const char *value);
/* Borrowed until the next header. */
const char *route_header_value(const struct route_answer *answer, uint32_t header);
/* Tags an answer by what it says (a weak ETag, since the cut beside it moves on). True: the client has
 * just this already (If-None-Match), and the answer is 304 without a body. */
bool route_answer_tag(struct route_answer *answer, const struct route_request *request,
                      const void *content, size_t len);
/* To be called now and then while a large body grows: what is there goes to a file. IO, DISK_FULL. */
int route_answer_spill(struct route_answer *answer, struct err *err) must_check;
/* The rest too, of an answer that has spilled: then the file is the body. */
int route_answer_spill_rest(struct route_answer *answer, struct err *err) must_check;
/* An unlinked file for a large body. */
int route_spill_open(struct err *err) must_check;
/* One JSON text and a line end. */
void route_answer_json(struct route_answer *answer, const json_t *body);
void route_answer_err(struct route_answer *answer, const struct err *err);

/* A parameter of the query, or NULL. */
const char *route_query(const struct route_request *request, const char *name);
/* A whole number within bounds; the fallback when it is not given. */
int route_query_int(const struct route_request *request, const char *name, int64_t least,
                    int64_t most, int64_t fallback, int64_t *out, struct err *err) must_check;

/* A time as people write it: RFC 3339 or ms since 1970, a '@' in front is tolerated. */
int route_time(const char *text, int64_t *us, struct err *err) must_check;

#endif
