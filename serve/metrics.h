/* Prometheus text from the status object (docs/ARCHITECTURE.md, HTTP) and the counters of HTTP.
 * Every metric is a row of metrics.def; docs/METRICS.md is made from the same rows. */
#ifndef KAPPA_SERVE_METRICS_H
#define KAPPA_SERVE_METRICS_H

#include "base/buf.h"
#include "base/json.h"
#include "serve/routes.h"

/* Appends the text format 0.0.4. Values that are not known are left out. */
void metrics_render(const json_t *status, const struct route_counters *counters, struct buf *out);
/* Appends a Markdown table of all metrics. */
void metrics_markdown(struct buf *out);

#endif
