/* What `kappa help TOPIC` explains: the texts of docs/help, which are part of the binary. */
#ifndef KAPPA_CLI_TOPICS_H
#define KAPPA_CLI_TOPICS_H

#include "base/buf.h"

/* The text for a terminal, its title bold; false when there is no such topic. */
bool topics_text(struct buf *out, const char *name, bool colour);
/* "  name  what it is about", a line each. */
void topics_list(struct buf *out);
/* The i-th page as it is written, in Markdown; NULL behind the last. */
const char *topics_page(size_t i);
/* The name of the i-th; NULL behind the last. */
const char *topics_name(size_t i);

#endif
