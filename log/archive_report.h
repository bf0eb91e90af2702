/* What is archived of a topic, for people: as `kappa archive ls -o json` and GET /v1/archive give it. */
#ifndef KAPPA_LOG_ARCHIVE_REPORT_H
#define KAPPA_LOG_ARCHIVE_REPORT_H

#include "base/err.h"
#include "base/json.h"

/* {"name","archive":"on"|"off","retain_ms","retain_bytes","error":{...}|null,"partitions":[{"partition",
 * "from" (the first offset from which nothing is missing),"to" (the next one to be archived),"records",
 * "bytes","raw_bytes","segments","damaged" (files),"gaps":[{"from","to","lost":bool}]}]}. A new reference.
 * NOT_FOUND when the topic has no archive. */
int archive_report(const char *archive_dir, const char *topic, json_t **out,
                   struct err *err) must_check;

#endif
