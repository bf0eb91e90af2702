/* Control calls of commands, and what several commands say about their answers. */
#ifndef KAPPA_CLI_CALL_H
#define KAPPA_CLI_CALL_H

#include "base/json.h"
#include "cli/cmd.h"

struct client;

/* {"who": the user}: every call says who asks, for receipts. A new reference. */
json_t *call_body(void);
/* "alone", when the option --alone is given. */
void call_alone(const struct cli *cli, json_t *body);

/* One call of the server that the command line means: client_call with a client of its own. */
int call_server(const struct cli *cli, const char *path, const json_t *body, long wait_seconds,
                json_t **out, struct err *err) must_check;
/* POST to /v1/processors/PROCESSOR[/versions/VERSION]/VERB; version 0: none. body is taken. */
int call_post(const struct cli *cli, const char *processor, uint32_t version, const char *verb,
              json_t *body, long wait_seconds, json_t **out, struct err *err) must_check;

/* The status object of one processor. NOT_FOUND when there is none. */
int call_status(struct client *client, const char *processor, json_t **out,
                struct err *err) must_check;

/* The commands `VERB P N`: calls, then prints the version object, or that it is `done` now. */
int call_version_command(struct cli *cli, const char *verb, const char *done,
                         struct err *err) must_check;

/* Prints an answer as it is (--json), or as text says it for people. */
int call_print(const struct cli *cli, const json_t *answer,
               void (*text)(const struct cli *cli, const json_t *answer, struct buf *out),
               struct err *err) must_check;
/* Likewise the receipt of a swap. */
int call_print_receipt(const struct cli *cli, const json_t *receipt, struct err *err) must_check;

#endif
