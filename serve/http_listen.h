/* A listening TCP socket from what a person writes. */
#ifndef KAPPA_SERVE_HTTP_LISTEN_H
#define KAPPA_SERVE_HTTP_LISTEN_H

#include "base/err.h"

#define HTTP_ADDRESS_LEN 300

struct http_listen {
    int fd;
    uint16_t port;                  /* the one really bound */
    bool loopback;                  /* only programs of this machine can reach it */
    char address[HTTP_ADDRESS_LEN]; /* how a program of this machine reaches it: "127.0.0.1:8317" */
};

/* address: "host:port", "[v6]:port", "port"; port 0: any free one. option: of kappa up that chooses
 * it, "--http". INVALID, BUSY (the port is taken; the hint says what to do), NOT_FOUND (no such
 * host), IO. */
int http_listen(const char *address, const char *option, struct http_listen *out,
                struct err *err) must_check;

#endif
