/* Answers as bytes, in the connection's protocol: 2 or 3. */
#ifndef KAPPA_SERVE_REDIS_REPLY_H
#define KAPPA_SERVE_REDIS_REPLY_H

#include "base/buf.h"
#include "base/err.h"

struct redis_reply {
    struct buf *out;
    int protocol;
    uint64_t errors; /* answered so far */
};

/* "+OK". text: one line. */
void redis_reply_status(struct redis_reply *reply, const char *text);
/* "-CODE sentence": line ends become blanks. */
void redis_reply_error(struct redis_reply *reply, const char *format, ...) printf_like(2, 3);
/* The sentence and the hint. */
void redis_reply_err(struct redis_reply *reply, const struct err *err);
void redis_reply_int(struct redis_reply *reply, int64_t value);
void redis_reply_bulk(struct redis_reply *reply, const void *bytes, size_t len);
void redis_reply_text(struct redis_reply *reply, const char *text);
void redis_reply_null(struct redis_reply *reply);
/* count values follow; of a map, twice as many: it is an array in protocol 2, as is a set. */
void redis_reply_array(struct redis_reply *reply, uint64_t count);
void redis_reply_map(struct redis_reply *reply, uint64_t count);
void redis_reply_set(struct redis_reply *reply, uint64_t count);

#endif
