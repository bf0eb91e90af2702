/* The folder of one topic of the embedded log: DATA/log/TOPIC with topic.json and a folder per
 * partition. A topic appears whole or not at all: it is made under a name that no topic can have
 * and renamed. Names are checked by the caller (topic_name.h).
 *
 * topic.json: {"format":1,"partitions","retain_ms","retain_bytes","segment_bytes","identity":hex} */
#ifndef KAPPA_LOG_TOPIC_DIR_H
#define KAPPA_LOG_TOPIC_DIR_H

#include "base/err.h"
#include "base/json.h"
#include "log/log.h"

struct topic_info {
    uint32_t partitions;
    int64_t retain_ms;     /* -1: for ever */
    int64_t retain_bytes;  /* per partition; -1: no bound */
    int64_t segment_bytes; /* > 0 */
    uint64_t identity;     /* random, not 0 */
};

/* INVALID, LIMIT, EXISTS, DISK_FULL, IO. */
int topic_dir_create(const char *log_dir, const char *topic,
                     const struct log_topic_options *options, struct err *err) must_check;
/* NOT_FOUND, with near names, when there is none. */
int topic_dir_load(const char *log_dir, const char *topic, struct topic_info *info,
                   struct err *err) must_check;
/* *out: new array of {"name","partitions"}, sorted by name. */
int topic_dir_list(const char *log_dir, json_t **out, struct err *err) must_check;

#endif
