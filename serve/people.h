/* Who may do what, while the server runs: the access file, read again when it changes.
 *
 *     people_open -> (people_find, people_still, people_refused: any thread | people_tick: one) ->
 *     people_close
 *
 * Invariants:
 *  1. A file that cannot be read, or is wrong, changes nothing: the last good one goes on counting,
 *     and the log says so.
 *  2. A token is never written anywhere: not into the log, not into an error.
 *  3. Comparing takes the same time whoever it is, or if it is nobody.
 */
#ifndef KAPPA_SERVE_PEOPLE_H
#define KAPPA_SERVE_PEOPLE_H

#include "serve/people_file.h"

struct people;

/* Requests that were not let in. All atomic. */
struct people_counters {
    uint64_t missing;   /* without a token */
    uint64_t unknown;   /* with a token that nobody has */
    uint64_t forbidden; /* of a person that lacks the role */
};

enum people_refusal { PEOPLE_MISSING, PEOPLE_UNKNOWN, PEOPLE_FORBIDDEN };

/* Errors name the file. */
int people_open(const char *path, struct people **out, struct err *err) must_check;
/* NULL: nothing. */
void people_close(struct people *people);
/* Reads the file again when it is another one. To be called a few times a second. */
void people_tick(struct people *people);

/* Absolute. */
const char *people_path(const struct people *people);
/* The token of PERSON_LOCAL, who may do everything: made anew at each start. */
const char *people_local_token(const struct people *people);

/* Whose token it is; false: nobody's. */
bool people_find(struct people *people, const char *token, size_t len, struct person *out);
/* Whether somebody who was found is still there, with this token; his roles are those of now. Cheap
 * while the file has not changed. */
bool people_still(struct people *people, struct person *person);

/* Counts a request that was not let in. What was wrong is written into the log, about once a second;
 * that nothing was shown is not: so a page asks whether it has to. from: whose address. */
void people_refused(struct people *people, enum people_refusal refusal, const char *from,
                    const char *what, const struct person *person);
const struct people_counters *people_counters(const struct people *people);

/* UNAUTHORIZED, or FORBIDDEN with the role that is missing. */
int people_say(enum people_refusal refusal, uint32_t roles, const struct person *person,
               struct err *err);

#endif
