/* Where a command acts: which data directory, which server, which log.
 *
 * --server wins over --data, options win over the environment, and ./kappa-data is the last resort.
 * A server that is not named is found by DATA/server.json. */
#ifndef KAPPA_CLI_PLACE_H
#define KAPPA_CLI_PLACE_H

#include "base/json.h"
#include "cli/cmd.h"

struct client;
struct log;
struct reader;

/* The data directory; borrowed from the options or the environment. */
const char *place_data(const struct cli *cli);
/* The server that was named, or NULL: then the data directory counts. */
const char *place_server(const struct cli *cli);

/* The process of `kappa up` on the data directory, or 0 when none runs. */
int64_t place_server_pid(const struct cli *cli);
/* FORBIDDEN when DATA/server.json is another user's: whether a server runs cannot be told then. */
int place_server_file_check(const char *data, struct err *err) must_check;
/* A client for the server. UNREACHABLE when none runs on the data directory. */
int place_client(const struct cli *cli, struct client **out, struct err *err) must_check;
/* The access file: --access, or that of the server on the data directory. Malloc'd; NULL: none. */
char *place_access(const struct cli *cli);
/* A reader on the data directory. NOT_FOUND when there is none. Root is the directory's owner from here
 * on, as with place_log: reading makes files, which that user could not open else. */
int place_reader(const struct cli *cli, struct reader **out, struct err *err) must_check;

/* The option --version: a number, or READER_CANDIDATE; 0 when it is not given. */
int place_version(const struct cli *cli, uint32_t *version, struct err *err) must_check;

/* The log to act on directly: --kafka, else the one of the data directory. make: the directory may
 * be made. */
int place_log(const struct cli *cli, bool make, struct log **out, struct err *err) must_check;
/* The same to write to it. */
int place_log_write(const struct cli *cli, bool make, struct log **out, struct err *err) must_check;
/* Before files are made in the data directory: REFUSED to root where it is another user's, whose server
 * could not open them. */
int place_own_check(const struct cli *cli, struct err *err) must_check;
/* The folder of archives: DATA/archive, or the one that `kappa up --archive` was given. Malloc'd. */
char *place_archive(const struct cli *cli);
/* The same together with the archive of the data directory, also of --kafka. */
int place_log_archived(const struct cli *cli, struct log **out, struct err *err) must_check;
/* The archived topic that the command names, or all: array of text. */
int place_archived(const struct cli *cli, const char *dir, json_t **names,
                   struct err *err) must_check;
/* {"kind",...} for log_open_config, of --kafka and -X; NULL in *out when --kafka was not given. */
int place_kafka(const struct cli *cli, json_t **out, struct err *err) must_check;

#define PLACE_KAFKA_OPTIONS                                                                        \
    {"kafka", '\0', "HOST:PORT,...",                                                               \
     "act on this Kafka instead of the log of the data directory"},                                \
    {                                                                                              \
        "property", 'X', "NAME=VALUE", "a property of librdkafka, with --kafka; may be repeated"   \
    }

#endif
