/* What `kappa doctor` looks at: each check says one line or more, nothing is changed.
 *
 *     doctor_server -> doctor_machine -> doctor_data -> doctor_archive -> doctor_log
 *
 * in this order, one thread.
 *
 * A check that cannot be made is a line too: it says why. */
#ifndef KAPPA_CLI_DOCTOR_H
#define KAPPA_CLI_DOCTOR_H

#include "base/json.h"
#include "cli/cmd.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_STATES };

struct doctor {
    const struct cli *cli;
    const char *data; /* directory; borrowed */
    bool remote;      /* --server: the machine and the log's disk are not ours to look at */
    json_t *checks;   /* [{"check","state","found","todo"|null}] */
    int counts[DOCTOR_STATES];
    json_t *status;     /* of the server, when it runs; owned */
    int64_t server_pid; /* or 0 */
};

/* A line. todo: what to do, or NULL. */
void doctor_say(struct doctor *doctor, enum doctor_state state, const char *check, const char *todo,
                const char *found, ...) printf_like(5, 6);
/* A failed call: its sentence and hint. */
void doctor_say_err(struct doctor *doctor, enum doctor_state state, const char *check,
                    const struct err *err);

/* Libraries, limits, clock. */
void doctor_machine(struct doctor *doctor);
/* The data directory and its disk. */
void doctor_data(struct doctor *doctor);
/* Is what is archived whole, does it go on, is there room? */
void doctor_archive(struct doctor *doctor);
/* Does it run, of which release, what do its versions say? Sets status. */
void doctor_server(struct doctor *doctor);
/* Is the log reached; settings and ends of the topics that are read; could each processor be
 * replayed? */
void doctor_log(struct doctor *doctor);

#endif
