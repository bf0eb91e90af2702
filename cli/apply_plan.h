/* A folder of definitions against a server: what would have to be done, in which order.
 *
 *     apply_read -> apply_ask -> (the caller acts) -> apply_free
 *
 * A definition that reads a topic which another one makes comes behind it. Nothing is written here. */
#ifndef KAPPA_CLI_APPLY_PLAN_H
#define KAPPA_CLI_APPLY_PLAN_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/cmd.h"

struct client;

enum apply_action {
    APPLY_UNCHANGED,
    APPLY_CREATE,      /* the processor is not there yet */
    APPLY_NEW_VERSION, /* another definition, or another start */
    APPLY_POLICY,      /* the version is there and takes another policy */
    APPLY_SWAP,        /* the version is there and stands by: back to it */
    APPLY_BARRED,      /* the same, but a person rolled it back: a person must say so */
    APPLY_REFUSED      /* the server would not take it: err says why */
};

struct apply_item {
    char *path; /* all owned */
    char *name;
    struct buf sql;
    json_t *body;    /* of the deploy */
    json_t *inputs;  /* topics: {name: true} */
    json_t *outputs; /* the same */
    json_t *answer;  /* of the server: of the dry run, then of the deploy; or NULL */
    enum apply_action action;
    const char *needs; /* a topic that is not there yet, made by `maker`; or NULL; borrowed */
    const char *maker;
    struct err err; /* REFUSED and BARRED */
};

struct apply_plan {
    struct apply_item *items; /* in the order of acting; owned */
    uint32_t count;
};

const char *apply_action_word(enum apply_action action);
/* Is there something to do? */
bool apply_acts(const struct apply_item *item);
/* Definitions of the command line: files, and of folders all that end in .sql. */
int apply_read(const struct cli *cli, struct apply_plan *plan, struct err *err) must_check;
/* Asks the server about each. What it says of one is kept there; only what concerns all is an error. */
int apply_ask(struct client *client, struct apply_plan *plan, struct err *err) must_check;
void apply_free(struct apply_plan *plan);

#endif
