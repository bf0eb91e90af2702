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
        return err_set(err, KE_INVALID, "the host of the HTTP address is too long");
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

static bool is_loopback(const struct sockaddr *name)
{
    if (name->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)name;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const void *)name;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* Fills port, loopback and address from the bound socket. */
static void listen_describe(struct http_listen *listening)
{
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof storage;
    int rc = getsockname(listening->fd, (struct sockaddr *)&storage, &len);
    ASSERT_CMP(rc, ==, 0);
    listening->loopback = is_loopback((const struct sockaddr *)&storage);
    char text[INET6_ADDRSTRLEN] = "";
    if (storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&storage;
        listening->port = ntohs(v4->sin_port);
        bool any = v4->sin_addr.s_addr == htonl(INADDR_ANY);
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        (void)snprintf(listening->address, sizeof listening->address, "%s:%u",
                       any ? "127.0.0.1" : text, listening->port);
    } else {
        const struct sockaddr_in6 *v6 = (const void *)&storage;
        listening->port = ntohs(v6->sin6_port);
        bool any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        (void)snprintf(listening->address, sizeof listening->address, "[%s]:%u", any ? "::1" : text,
                       listening->port);
    }
}

static int bind_failed(const char *address, int errnum, struct err *err)
{
    if (errnum != EADDRINUSE) {
        return err_errno(err, errnum, "cannot listen on %s", address);
    }
    int rc = err_set(err, KE_BUSY, "cannot listen on %s: another program uses that port", address);
    err_hint(err, "choose another with --http HOST:PORT (port 0 takes any free one); `ss -ltnp` "
                  "shows who has it");
    return rc;
}

int http_listen(const char *address, struct http_listen *out, struct err *err)
{
    char host[256];
    const char *port;
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
        rc = bind_failed(address, errno, err);
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
