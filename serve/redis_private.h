/* The inside of the Redis door: redis.c (sockets and threads), redis_session.c (a connection's
 * requests one after the other, transactions), redis_auth.c (who asks), redis_rows.c, redis_scan.c
 * and redis_info.c (what the commands do). */
#ifndef KAPPA_SERVE_REDIS_PRIVATE_H
#define KAPPA_SERVE_REDIS_PRIVATE_H

#include "processor/expr_step.h"
#include "serve/people.h"
#include "serve/redis.h"
#include "serve/redis_key.h"
#include "serve/redis_parse.h"
#include "serve/redis_reads.h"
#include "serve/redis_reply.h"

#include <pthread.h>

#define REDIS_ROUND_COMMANDS  4096       /* of a connection in one round; then others have a turn */
#define REDIS_OUT_PAUSE       (1 << 20)  /* answers that wait: no more requests are taken up */
#define REDIS_OUT_MAX         (64 << 20) /* answers that wait: more are a reason to cut off */
#define REDIS_MULTI_MAX       (4 << 20)  /* bytes of a transaction */
#define REDIS_CONNECTIONS_MAX 1024       /* of all threads */
#define REDIS_ANYBODY         "default"  /* the user of clients that know a password only */
#define REDIS_NAME_MAX        64         /* bytes of a client's name, and of its library's */
#define REDIS_SCAN_MAX        1000       /* rows that one SCAN goes through */
#define REDIS_SCAN_PLACES     1024       /* places of scans that are remembered */
/* For the views of one request, or transaction, and of those in front of it; and after how much others
 * have a turn. */
#define REDIS_VIEWS_MAX_US    1000000
#define REDIS_VIEWS_PAUSE_US  100000

struct redis_session;
struct redis_scans;

/* What the sessions of one thread share. */
struct redis_context {
    struct reader *reader;
    struct people *people; /* who may read; NULL: everybody */
    struct redis_reads reads;
    struct redis_scans *scans; /* of all threads */
    struct redis_counters *counters;
    int64_t started_us;
    uint16_t port;
    int64_t views_us;  /* what the views of this turn have taken */
    uint64_t commands; /* answered, not yet in counters */
    uint64_t counted;  /* bit i: commands_of[i] is not zero */
    uint32_t commands_of[REDIS_COUNTED];
    struct buf key; /* scratch */
    struct buf value;
    char scalar[EXPR_VALUE_TEXT];
};

struct redis_command {
    const char *name; /* in capitals */
    void (*run)(struct redis_session *session, const struct redis_arg *args, uint32_t count);
    int arity;     /* with the name; negative: at least so many */
    int first_key; /* index of the first row's name, 0: none */
    int last_key;  /* of the last one; -1: the last argument */
    bool queued;   /* may be part of a transaction */
    const char *help;
};

/* What a connection's client has done and said. */
struct redis_session {
    struct redis_context *context; /* while it runs */
    struct redis_reply reply;      /* out is below */
    struct redis_parse parse;
    struct buf in;
    struct buf out;
    uint64_t id;
    char address[64];
    char name[REDIS_NAME_MAX + 1];
    char library[REDIS_NAME_MAX + 1];
    char library_version[REDIS_NAME_MAX + 1];
    const struct redis_command *known; /* the last one, or NULL */
    struct person person;              /* that AUTH found; without a name: none yet */
    bool multi;
    bool multi_failed;
    uint32_t multi_count;
    struct buf multi_bytes; /* requests as they came, made whole again */
    bool closing;           /* when what is in out is sent */
    bool cut_off;           /* now */
};

extern const struct redis_command redis_commands[];
extern const uint32_t redis_command_count;
/* By its name in any case, or NULL. */
const struct redis_command *redis_command_find(const struct redis_arg *name);

void redis_session_init(struct redis_session *session, uint64_t id, const char *address);
void redis_session_free(struct redis_session *session);
/* Answers the requests in `in`. True: there is more that could be done at once. The caller sends
 * out, minds closing and cut_off, and ends the reads of the context when its round is over. */
bool redis_session_run(struct redis_session *session, struct redis_context *context) must_check;

/* Tells the counters, which all threads share, what the context has answered. */
void redis_count_commands(struct redis_context *context);

void redis_context_init(struct redis_context *context, struct reader *reader,
                        struct redis_scans *scans, struct redis_counters *counters);
void redis_context_free(struct redis_context *context);

/* redis_auth.c. name: NULL for anybody. False: the error is answered. */
bool redis_login(struct redis_session *session, const struct redis_arg *name,
                 const struct redis_arg *token);
/* Is it known who asks, or does nobody want to know? */
bool redis_known(struct redis_session *session);
/* May the command run? False: the error is answered. */
bool redis_let_in(struct redis_session *session, const struct redis_command *command);

/* Places of scans: shared, thread-safe. */
struct redis_scans *redis_scans_new(void);
void redis_scans_free(struct redis_scans *scans);

/* The names of the tables that serve, sorted: an array of texts, a new reference. */
int redis_tables(struct reader *reader, json_t **out, struct err *err) must_check;
/* Stored rows of all tables that serve. Not while a transaction is answered: it has pinned what it reads. */
int redis_rows(struct redis_context *context, int64_t *out, struct err *err) must_check;

/* Word for word in any case? */
bool redis_arg_is(const struct redis_arg *arg, const char *word);
bool redis_arg_int(const struct redis_arg *arg, int64_t least, int64_t most, int64_t *out);
/* "ERR wrong number of arguments". */
void redis_wrong_count(struct redis_session *session, const char *name);

#define X(name, function, arity, first, last, queued, help)                                        \
    void function(struct redis_session *session, const struct redis_arg *args, uint32_t count);
#include "serve/redis_commands.def"

#endif
