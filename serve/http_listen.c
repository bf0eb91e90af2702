/* Binding the address of the server. Own header: http_listen.h. */
#include "serve/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 256

/* Splits "host:port" into its parts; host stays "127.0.0.1" when only a port is written. */
static int address_split(const char *address, char *host, size_t host_cap, const char **port,
                         struct err *err)
{
    const char *colon = strrchr(address, ':');
    const char *start = address;
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);
    *port = colon == NULL ? address : colon + 1;
    if (len > 1 && address[0] == '[' && address[len - 1] == ']') {
        start++;
        len -= 2;
    } else if (len > 0 && memchr(address, ':', len) != NULL) {
        return err_set(err, KE_INVALID, "\"%s\": write an IPv6 address in brackets, [::1]:8317",
                       address);
    }
    if (len >= host_cap) {
        return err_set(err, KE_INVALID, "the host of the address is too long");
    }
    char *end = NULL;
    unsigned long number = strtoul(*port, &end, 10);
    if (**port < '0' || **port > '9' || *end != '\0' || number > UINT16_MAX) {
        int rc = err_set(err, KE_INVALID, "\"%s\" is not an address to listen on", address);
        err_hint(err, "write HOST:PORT, for example 127.0.0.1:8317");
        return rc;
    }
    if (len == 0) {
        start = "127.0.0.1";
        len = strlen(start);
    }
    memcpy(host, start, len);
    host[len] = '\0';
    return 0;
}

/* The address of a socket. */
union name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static void describe_v4(struct http_listen *listening, const struct sockaddr_in *name)
{
    char text[INET_ADDRSTRLEN] = "";
    uint32_t address = ntohl(name->sin_addr.s_addr);
    (void)inet_ntop(AF_INET, &name->sin_addr, text, sizeof text);
    listening->port = ntohs(name->sin_port);
    listening->loopback = address >> 24 == 127;
    (void)snprintf(listening->address, sizeof listening->address, "%s:%u",
                   address == INADDR_ANY ? "127.0.0.1" : text, listening->port);
}

static void describe_v6(struct http_listen *listening, const struct sockaddr_in6 *name)
{
    char text[INET6_ADDRSTRLEN] = "";
    bool any = IN6_IS_ADDR_UNSPECIFIED(&name->sin6_addr);
    (void)inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof text);
    listening->port = ntohs(name->sin6_port);
    listening->loopback = IN6_IS_ADDR_LOOPBACK(&name->sin6_addr);
    (void)snprintf(listening->address, sizeof listening->address, "[%s]:%u", any ? "::1" : text,
                   listening->port);
}

/* Fills port, loopback and address from the bound socket. */
static void listen_describe(struct http_listen *listening)
{
    union name name;
    memset(&name, 0, sizeof name);
    socklen_t len = sizeof name;
    int rc = getsockname(listening->fd, &name.any, &len);
    ASSERT_CMP(rc, ==, 0);
    if (name.any.sa_family == AF_INET) {
        describe_v4(listening, &name.v4);
    } else {
        describe_v6(listening, &name.v6);
    }
}

static int bind_failed(const char *address, const char *option, int errnum, struct err *err)
{
    if (errnum != EADDRINUSE) {
        int failed = err_errno(err, errnum, "cannot listen on %s", address);
        if (errnum == EACCES) {
            err_hint(err, "ports below 1024 are for root: choose another with %s HOST:PORT",
                     option);
        } else if (errnum == EADDRNOTAVAIL) {
            err_hint(err,
                     "it has to be an address of this machine, or 0.0.0.0 for all (%s HOST:PORT)",
                     option);
        }
        return failed;
    }
    int rc = err_set(err, KE_BUSY, "cannot listen on %s: another program uses that port", address);
    err_hint(err,
             "choose another with %s HOST:PORT (port 0 takes any free one); `ss -ltnp` shows who "
             "has it",
             option);
    return rc;
}

int http_listen(const char *address, const char *option, struct http_listen *out, struct err *err)
{
    char host[256];
    const char *port = NULL;
    int rc = address_split(address, host, sizeof host, &port, err);
    if (rc < 0) {
        return rc;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed != 0) {
        return err_set(err, KE_NOT_FOUND, "cannot listen on %s: %s", address, gai_strerror(failed));
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        rc = bind_failed(address, option, errno, err);
        if (fd >= 0) {
            (void)close(fd);
        }
        freeaddrinfo(found);
        return rc;
    }
    freeaddrinfo(found);
    *out = (struct http_listen){.fd = fd};
    listen_describe(out);
    return 0;
}
