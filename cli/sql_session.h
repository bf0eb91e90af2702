/* Where statements of `kappa sql` run: in this process on the files of the data directory, or in a
 * server.
 *
 *     sql_session_open -> sql_session_run, sql_session_tables ... -> sql_session_close */
#ifndef KAPPA_CLI_SQL_SESSION_H
#define KAPPA_CLI_SQL_SESSION_H

#include "cli/cmd.h"
#include "serve/query.h"

struct client;

struct sql_session {
    struct reader *reader; /* on files, or NULL */
    struct query *query;
    struct client *client; /* of a server, or NULL */
    int64_t timeout_us;    /* of one statement; 0: none */
    uint32_t version;      /* of tables named without one; 0: the serving ones */
    bool stop;             /* atomic; set from a signal: the statement ends */
};

int sql_session_open(const struct cli *cli, struct sql_session *session,
                     struct err *err) must_check;
void sql_session_close(struct sql_session *session);
/* As query_run. */
int sql_session_run(struct sql_session *session, const char *text, size_t len,
                    const struct query_sink *sink, struct query_result *result,
                    struct err *err) must_check;
/* As query_describe. */
int sql_session_tables(struct sql_session *session, json_t **out, struct err *err) must_check;

#endif
