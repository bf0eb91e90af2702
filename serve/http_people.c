/* Who asks over HTTP: a token in the header Authorization (RFC 6750), and the roles that the route
 * wants. Own header: http_private.h. */
#include "serve/http_private.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SCHEME     "Bearer"
#define REALM      SCHEME " realm=\"kappa\""
#define BLANKS     " \t"
#define WHAT_BYTES 100 /* of a request's address, in the log */

/* The token, or NULL; *len without blanks at the end. */
static const char *token_of(struct MHD_Connection *connection, size_t *len)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    size_t scheme = sizeof SCHEME - 1;
    if (value == NULL || strncasecmp(value, SCHEME, scheme) != 0 ||
        strspn(value + scheme, BLANKS) == 0) {
        return NULL;
    }
    const char *token = value + scheme + strspn(value + scheme, BLANKS);
    *len = strcspn(token, BLANKS);
    return token[*len + strspn(token + *len, BLANKS)] == '\0' ? token : NULL;
}

/* What a client is told in WWW-Authenticate. */
static void challenge(struct http_request *request, enum people_refusal refusal)
{
    struct buf scope = {0};
    switch (refusal) {
    case PEOPLE_MISSING:
        (void)snprintf(request->challenge, sizeof request->challenge, REALM);
        break;
    case PEOPLE_UNKNOWN:
        (void)snprintf(request->challenge, sizeof request->challenge,
                       REALM ", error=\"invalid_token\"");
        break;
    case PEOPLE_FORBIDDEN:
    default:
        roles_write(request->route->roles, " ", &scope);
        (void)snprintf(request->challenge, sizeof request->challenge,
                       REALM ", error=\"insufficient_scope\", scope=\"%s\"", buf_text(&scope));
        buf_free(&scope);
        break;
    }
}

/* The address of the other side, as people write it. */
static void address_of(struct MHD_Connection *connection, char *out, size_t room)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info == NULL ? NULL : info->client_addr;
    socklen_t len = address != NULL && address->sa_family == AF_INET6
                        ? (socklen_t)sizeof(struct sockaddr_in6)
                        : (socklen_t)sizeof(struct sockaddr_in);
    if (address == NULL ||
        getnameinfo(address, len, out, (socklen_t)room, NULL, 0, NI_NUMERICHOST) != 0) {
        (void)snprintf(out, room, "somewhere");
    }
}

static int refuse(struct people *people, struct MHD_Connection *connection,
                  struct http_request *request, enum people_refusal refusal)
{
    char from[64];
    char what[WHAT_BYTES];
    address_of(connection, from, sizeof from);
    (void)snprintf(what, sizeof what, "%s %s", request->route->method, request->route->path);
    people_refused(people, refusal, from, what, &request->person);
    challenge(request, refusal);
    return people_say(refusal, request->route->roles, &request->person, &request->err);
}

int http_people_admit(struct http_server *server, struct MHD_Connection *connection,
                      struct http_request *request)
{
    struct people *people = server->options.people;
    if (people == NULL || request->route->roles == 0) {
        return 0;
    }
    size_t len = 0;
    const char *token = token_of(connection, &len);
    if (token == NULL) {
        return refuse(people, connection, request, PEOPLE_MISSING);
    }
    if (!people_find(people, token, len, &request->person)) {
        return refuse(people, connection, request, PEOPLE_UNKNOWN);
    }
    if ((request->person.roles & request->route->roles) == 0) {
        return refuse(people, connection, request, PEOPLE_FORBIDDEN);
    }
    return 0;
}

bool http_people_still(struct http_server *server, const struct route *route, struct person *person)
{
    struct people *people = server->options.people;
    return people == NULL || (people_still(people, person) && (person->roles & route->roles) != 0);
}
