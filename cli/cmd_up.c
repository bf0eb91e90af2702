/* kappa up. */
#include "cli/cmd.h"
#include "cli/config_file.h"
#include "cli/place.h"
#include "controller/controller.h"
#include "replayer/priority.h"

#include <stdlib.h>

static int up_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"config", '\0', "FILE",
     "take options from a file: lines \"name = value\", as here and --data; the command line wins"},
    {"kafka", '\0', "HOST:PORT,...", "use this Kafka as the log instead of DIR/log"},
    {"property", 'X', "NAME=VALUE", "a property of librdkafka, with --kafka; may be repeated"},
    {"groups", '\0', "PREFIX",
     "with --kafka: commit where each version stands as group PREFIX.PROCESSOR.vN, for tools that "
     "show "
     "lag (default " CONTROLLER_GROUPS "; off: none)"},
    {"archive", '\0', "DIR",
     "use archives copied here as the log: there is no broker, and nothing can be written"},
    {"http", '\0', "ADDR:PORT", "listen here (default " CONTROLLER_HTTP "; port 0: any free one)"},
    {"disk-budget", '\0', "SIZE",
     "versions may take this much, as 50GiB: above it the oldest that are over go by themselves "
     "(see "
     "`kappa gc`)"},
    {"replay-nice", '\0', "N",
     "replays have a CPU priority lower by this (1 to 19) until they are about to serve; see "
     "nice(1)"},
    {"hook", '\0', "CMD",
     "a shell command for each event (see `kappa events`), which is JSON on its standard input"},
    {"access", '\0', "FILE",
     "ask everybody for a token; the file says who may do what (see `kappa access add`)"},
    {"redis", '\0', "ADDR:PORT",
     "also answer Redis clients here: tables as hashes, read only (port 0: any free one)"},
    {"threads", '\0', "N",
     "threads that answer HTTP, and with --redis as many for Redis (default: one per core, 2 to "
     "16)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_up = {
    .name = "up",
    .args = "",
    .summary = "run the platform in the foreground",
    .help =
        "Starts the controller on the data directory, which is made when missing (a folder that "
        "holds\n"
        "something else is refused): it brings back what was deployed, runs a worker process for "
        "each version, and answers HTTP. Messages go to "
        "standard error\n"
        "(KAPPA_LOG=debug says more). SIGTERM and SIGINT let the workers commit and end it. "
        "HTTP\n"
        "listens on this machine only, unless --http says otherwise; the same holds for Redis, "
        "which is off\n"
        "unless --redis is given. Whoever reaches them may do everything, unless --access asks "
        "for tokens: then\n"
        "only who can read the server's own files needs none. There is no TLS: that is for a "
        "proxy in front.",
    .examples = "kappa up --data ./kappa-data\n"
                "kappa up --data /var/lib/kappa --kafka broker1:9092,broker2:9092\n"
                "kappa up --kafka broker:9093 -X security.protocol=SSL --http 127.0.0.1:0\n"
                "kappa up --data ./replayed --archive /backup/kappa-data/archive\n"
                "kappa up --http 0.0.0.0:8317 --access /var/lib/kappa/access\n"
                "kappa up --hook 'curl -fsS --json @- https://chat/hook'\n"
                "kappa up --redis 127.0.0.1:6379    # redis-cli hgetall user_features:u42\n",
    .options = options,
    .run = up_run,
};

static int up(struct cli *cli, struct err *err)
{
    if (cli_option(cli, "server") != NULL) {
        return err_set(err, KE_INVALID, "kappa up is the server: --server is for other commands");
    }
    json_t *kafka = NULL;
    int rc = place_own_check(cli, err);
    rc = rc == 0 ? place_kafka(cli, &kafka, err) : rc;
    if (rc == 0 && kafka != NULL && cli_option(cli, "archive") != NULL) {
        json_decref(kafka);
        rc = err_set(err, KE_INVALID, "--kafka and --archive each name the log: give one of them");
    }
    if (rc < 0) {
        return rc;
    }
    struct controller_options wanted = {
        .data_dir = place_data(cli),
        .kafka = json_text(kafka, "brokers", NULL),
        .kafka_settings = json_object_get(kafka, "properties"),
        .groups = cli_option(cli, "groups"),
        .archive = cli_option(cli, "archive"),
        .http = cli_option(cli, "http"),
        .hook = cli_option(cli, "hook"),
        .redis = cli_option(cli, "redis"),
        .access = cli_option(cli, "access"),
    };
    rc = cli_option_bytes(cli, "disk-budget", 0, &wanted.disk_budget, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "replay-nice", 1, PRIORITY_NICE_MAX, 0, &wanted.replay_nice, err);
    }
    if (rc == 0 && wanted.replay_nice > 0) {
        rc = priority_check(err);
    }
    int64_t threads = 0;
    if (rc == 0) {
        rc = cli_option_int(cli, "threads", 1, CONTROLLER_THREADS_MAX, 0, &threads, err);
    }
    if (rc == 0) {
        wanted.threads = (uint32_t)threads;
        rc = controller_main(&wanted, err);
    }
    json_decref(kafka);
    return rc;
}

static int up_run(struct cli *cli, struct err *err)
{
    const char *config = cli_option(cli, "config");
    char *text = NULL;
    int rc = config == NULL ? 0 : config_file_read(config, "property", cli, &text, err);
    rc = rc < 0 ? rc : up(cli, err);
    free(text);
    return rc;
}
