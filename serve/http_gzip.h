/* Answers compressed by gzip, for clients that say they take it. */
#ifndef KAPPA_SERVE_HTTP_GZIP_H
#define KAPPA_SERVE_HTTP_GZIP_H

#include "serve/routes.h"

/* Does a header Accept-Encoding (or NULL: there is none) take gzip? */
bool http_gzip_accepted(const char *accept);
/* Compresses the body when it is large enough to be worth it, and says so in the headers. Leaves the
 * answer as it is when that does not work out; twice is once. A body in a file takes long: from a
 * thread that may. */
void http_gzip(struct route_answer *answer);

#endif
