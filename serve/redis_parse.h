/* Requests out of bytes: arrays of bulk strings, and inline commands as a person types them.
 *
 * A parser of our own and not hiredis' reader: that one is made for replies. It takes no inline
 * commands, bounds neither counts nor lengths before it allocates, and copies every argument.
 *
 * The bytes lie in one buffer of the caller's, who may move it between calls, append to it, and
 * drops redis_parse.pos bytes from its front after a request. Parsing goes on where it stopped: a
 * request that comes byte by byte is looked at once.
 */
#ifndef KAPPA_SERVE_REDIS_PARSE_H
#define KAPPA_SERVE_REDIS_PARSE_H

#include "base/base.h"

#define REDIS_ARGS_MAX    65536     /* arguments of a request */
#define REDIS_BULK_MAX    65536     /* bytes of an argument: keys and field names are far shorter */
#define REDIS_INLINE_MAX  65536     /* bytes of an inline command */
#define REDIS_REQUEST_MAX (4 << 20) /* bytes of a request with everything in it */

/* A NUL follows. */
struct redis_arg {
    const char *text;
    size_t len;
};

struct redis_parse {
    size_t pos;     /* bytes taken so far */
    int64_t left;   /* arguments still to come; -1: a request has not begun */
    int64_t bulk;   /* length of the argument that comes next; -1: its line is still to come */
    uint32_t count; /* arguments that are there */
    uint32_t cap;   /* of both arrays */
    size_t *places; /* where they begin in the buffer */
    struct redis_arg *args; /* of a whole request; text in the buffer */
};

void redis_parse_init(struct redis_parse *parse);
void redis_parse_free(struct redis_parse *parse);
/* 1: a request, in args and count (0: an empty one); its bytes are data[0 .. pos). 0: more bytes
 * are needed. -1: this is not the protocol, *why says so; the parser is of no use any more. data
 * is written to: NULs go behind arguments. */
int redis_parse_next(struct redis_parse *parse, char *data, size_t len,
                     const char **why) must_check;
/* After a request, when data[0 .. pos) is gone. */
void redis_parse_reset(struct redis_parse *parse);

#endif
