/* A limit on reading as people write it, "50000/s,20MB/s", and as the API has it. Pure, but for the time
 * zone. */
#ifndef KAPPA_CLI_LIMIT_TEXT_H
#define KAPPA_CLI_LIMIT_TEXT_H

#include "base/buf.h"
#include "base/json.h"

/* Parts with commas between: NUMBER/s (records; k, M, G for 1000 each) and NUMBER and a unit of bytes
 * (B, kB, MB, GB, KiB, MiB, GiB) and /s; "broker <= 100MB/s" (of what brokers are asked for);
 * freshness=50ms, also as "freshness p99 <= 50 ms";
 * "finish by TIME" (a time of day is the next one of the clock here; else RFC 3339, UTC without an
 * offset) or "finish in DURATION" from now_ms on; priority=N; or "none". *out: an object or null, a new
 * reference. */
int limit_text_parse(const char *text, int64_t now_ms, json_t **out, struct err *err) must_check;
/* The other way, for people: "50,000 records/s, 20.0 MB/s"; nothing for null. Appended. */
void limit_text(struct buf *out, const json_t *limit);

#endif
