/* Finding the server and the log. Own header: place.h. */
#include "cli/place.h"

#include "cli/client.h"
#include "cli/credential.h"
#include "controller/datadir.h"
#include "log/archive_topic.h"
#include "log/log.h"
#include "serve/reader.h"
#include "table/catalog.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_DEFAULT "kappa-data"

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *place_data(const struct cli *cli)
{
    const char *data = cli_option(cli, "data");
    data = data != NULL ? data : environment("KAPPA_DATA");
    return data != NULL ? data : DATA_DEFAULT;
}

const char *place_server(const struct cli *cli)
{
    const char *server = cli_option(cli, "server");
    if (server != NULL || cli_option(cli, "data") != NULL) {
        return server;
    }
    return environment("KAPPA_SERVER");
}

static bool is_dir(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* DATA/server.json, or NULL when there is none that can be read. */
static json_t *server_file(const char *data)
{
    char *path = xasprintf("%s/server.json", data);
    json_t *object = json_load_file(path, 0, NULL);
    free(path);
    return object;
}

int place_server_file_check(const char *data, struct err *err)
{
    char *path = xasprintf("%s/server.json", data);
    int rc = access(path, R_OK) == 0 || errno != EACCES
                 ? 0
                 : err_set(err, KE_FORBIDDEN, "cannot read %s: it belongs to another user", path);
    if (rc != 0) {
        err_hint(err,
                 "run it as the user of `kappa up`, or name the server with --server HOST:PORT");
    }
    free(path);
    return rc;
}

static bool alive(int64_t pid)
{
    return pid > 0 && pid <= INT32_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

int64_t place_server_pid(const struct cli *cli)
{
    json_t *file = server_file(place_data(cli));
    int64_t pid = json_int(file, "pid", 0);
    json_decref(file);
    return alive(pid) ? pid : 0;
}

static int not_running(const char *data, struct err *err)
{
    int rc = err_set(err, KE_UNREACHABLE, "kappa up is not running on %s", data);
    err_hint(err, "start it with: kappa up --data %s%s", data,
             is_dir(data)
                 ? ""
                 : " (there is no such directory yet; --data or KAPPA_DATA names another)");
    return rc;
}

/* With the token that belongs to it. */
static int open_client(const struct cli *cli, const char *http, const json_t *file,
                       struct client **out, struct err *err)
{
    char *token = NULL;
    int rc = credential_find(cli, file, &token, err);
    if (rc == 0) {
        rc = client_open(http, token, out, err);
    }
    if (token != NULL) {
        explicit_bzero(token, strlen(token));
    }
    free(token);
    return rc;
}

int place_client(const struct cli *cli, struct client **out, struct err *err)
{
    const char *server = place_server(cli);
    if (server != NULL) {
        return open_client(cli, server, NULL, out, err);
    }
    const char *data = place_data(cli);
    int rc = place_server_file_check(data, err);
    if (rc < 0) {
        return rc;
    }
    json_t *file = server_file(data);
    const char *http = json_text(file, "http", NULL);
    rc = http == NULL || !alive(json_int(file, "pid", 0)) ? not_running(data, err)
                                                          : open_client(cli, http, file, out, err);
    json_decref(file);
    return rc;
}

char *place_access(const struct cli *cli)
{
    const char *given = cli_option(cli, "access");
    if (given != NULL) {
        return xstrdup(given);
    }
    json_t *file = place_server(cli) == NULL ? server_file(place_data(cli)) : NULL;
    const char *known = json_text(file, "access", NULL);
    char *path = known == NULL ? NULL : xstrdup(known);
    json_decref(file);
    return path;
}

/* Is this root, and the data another user's? */
static bool of_another(const char *data, struct stat *folder)
{
    return getuid() == 0 && stat(data, folder) == 0 && folder->st_uid != 0;
}

/* Before data is read: what that makes there (LMDB's lock file, the log's heads after the machine has
 * started) has to be its owner's, so root reads as that user. Where it may not be, or that user cannot
 * come there, it goes on as it is. */
static void read_as_owner(const char *data)
{
    struct stat folder;
    if (of_another(data, &folder) && setegid(folder.st_gid) == 0 && seteuid(folder.st_uid) == 0 &&
        !is_dir(data)) {
        (void)!seteuid(0);
    }
}

int place_reader(const struct cli *cli, struct reader **out, struct err *err)
{
    const char *data = place_data(cli);
    if (!is_dir(data)) {
        int rc = err_set(err, KE_NOT_FOUND, "there is no data directory %s", data);
        err_hint(err, "--data DIR or KAPPA_DATA names it; `kappa up --data DIR` makes one");
        return rc;
    }
    read_as_owner(data);
    return reader_open(data, out, err);
}

int place_kafka(const struct cli *cli, json_t **out, struct err *err)
{
    const char *brokers = cli_option(cli, "kafka");
    json_t *properties = json_object();
    const char *pair;
    for (uint32_t i = 0; (pair = cli_option_at(cli, "property", i)) != NULL; i++) {
        const char *equals = strchr(pair, '=');
        if (equals == NULL || equals == pair) {
            json_decref(properties);
            return err_set(err, KE_INVALID, "-X %s: write NAME=VALUE", pair);
        }
        (void)json_object_setn_new(properties, pair, (size_t)(equals - pair),
                                   json_string(equals + 1));
    }
    if (brokers == NULL && json_object_size(properties) > 0) {
        json_decref(properties);
        return err_set(err, KE_INVALID, "-X is for Kafka: --kafka HOST:PORT is missing");
    }
    *out = brokers == NULL ? NULL
                           : json_pack("{s:s,s:s,s:O}", "kind", "kafka", "brokers", brokers,
                                       "properties", properties);
    json_decref(properties);
    return 0;
}

/* What the catalog says of the data's log: with the server down, the brokers it last used. */
static json_t *log_of_catalog(const char *data)
{
    char *dir = xasprintf("%s/catalog", data);
    struct catalog *catalog;
    json_t *setting = NULL;
    read_as_owner(data);
    if (catalog_open(dir, false, &catalog, NULL) == 0) {
        if (catalog_get(catalog, "x/log", &setting, NULL) != 0) {
            setting = NULL;
        }
        catalog_close(catalog);
    }
    free(dir);
    return setting;
}

/* What the data directory was last used with, unless that is its embedded log: a new reference. */
static json_t *known_log(const char *data)
{
    json_t *file = server_file(data);
    json_t *log = json_incref(json_object_get(file, "log"));
    json_decref(file);
    if (log == NULL) {
        log = log_of_catalog(data);
    }
    if (log != NULL && strcmp(json_text(log, "kind", ""), "embedded") != 0) {
        return log;
    }
    json_decref(log);
    return NULL;
}

char *place_archive(const struct cli *cli)
{
    json_t *log = known_log(place_data(cli));
    const char *copied =
        strcmp(json_text(log, "kind", ""), "archive") == 0 ? json_text(log, "archive", NULL) : NULL;
    char *dir = copied != NULL ? xstrdup(copied) : xasprintf("%s/archive", place_data(cli));
    json_decref(log);
    return dir;
}

int place_archived(const struct cli *cli, const char *dir, json_t **names, struct err *err)
{
    struct archive_topic settings;
    if (cli->arg_count == 0) {
        return archive_topic_list(dir, names, err);
    }
    int rc = archive_topic_load(dir, cli->args[0], &settings, err);
    *names = rc == 0 ? json_pack("[s]", cli->args[0]) : NULL;
    return rc;
}

static bool has_embedded_log(const char *data)
{
    char *dir = xasprintf("%s/log", data);
    bool is = is_dir(dir);
    free(dir);
    return is;
}

/* What to open: --kafka, else what the data directory is used with. */
static int log_config(const struct cli *cli, bool make, json_t **out, struct err *err)
{
    json_t *config = NULL;
    int rc = place_kafka(cli, &config, err);
    if (rc < 0 || config != NULL) {
        *out = config;
        return rc;
    }
    const char *data = place_data(cli);
    read_as_owner(data);
    if (!has_embedded_log(data)) { /* which can be read without its server */
        rc = place_server_file_check(data, err);
    }
    if (rc < 0) {
        return rc;
    }
    char *archive = place_archive(cli);
    config = known_log(data);
    if (config != NULL) {
        (void)json_object_set_new(config, "archive", json_string(archive)); /* it may have moved */
    } else if (!is_dir(data) && (!make || mkdir(data, 0777) != 0)) {
        rc = err_set(err, KE_NOT_FOUND, "there is no data directory %s", data);
        err_hint(err, "--data DIR or KAPPA_DATA names it; `kappa up --data DIR` makes one");
    } else if (!make || (rc = datadir_check(data, err)) == 0) {
        char *dir = xasprintf("%s/log", data);
        config = json_pack("{s:s,s:s,s:s}", "kind", "embedded", "dir", dir, "archive", archive);
        free(dir);
    }
    free(archive);
    *out = config;
    return rc;
}

int place_log(const struct cli *cli, bool make, struct log **out, struct err *err)
{
    json_t *config = NULL;
    int rc = log_config(cli, make, &config, err);
    if (rc == 0) {
        rc = log_open_config(config, out, err);
        json_decref(config);
    }
    return rc;
}

/* more: what else may be done, behind the hint. */
static int own_check(const struct cli *cli, const char *more, struct err *err)
{
    const char *data = place_data(cli);
    struct stat folder;
    if (!of_another(data, &folder)) {
        return 0;
    }
    const struct passwd *owner = getpwuid(folder.st_uid);
    char *name = owner == NULL ? xasprintf("'#%ld'", (long)folder.st_uid) : xstrdup(owner->pw_name);
    int rc = err_set(err, KE_REFUSED, "%s belongs to %s, who could not use what root makes there",
                     data, owner == NULL ? "another user" : name);
    err_hint(err, "run it as that user: sudo -u %s kappa ...%s", name, more);
    free(name);
    return rc;
}

int place_own_check(const struct cli *cli, struct err *err)
{
    return own_check(cli, "", err);
}

int place_log_write(const struct cli *cli, bool make, struct log **out, struct err *err)
{
    json_t *elsewhere = cli_option(cli, "kafka") == NULL ? known_log(place_data(cli)) : json_true();
    int rc = 0;
    if (elsewhere == NULL) {
        rc = own_check(cli, "; or name the server with --server HOST:PORT or KAPPA_SERVER", err);
    }
    json_decref(elsewhere);
    return rc == 0 ? place_log(cli, make, out, err) : rc;
}

int place_log_archived(const struct cli *cli, struct log **out, struct err *err)
{
    json_t *config = NULL;
    int rc = log_config(cli, false, &config, err);
    if (rc == 0) {
        char *archive = place_archive(cli);
        (void)json_object_set_new(config, "archive", json_string(archive));
        free(archive);
        rc = log_open_config(config, out, err);
        json_decref(config);
    }
    return rc;
}

int place_version(const struct cli *cli, uint32_t *version, struct err *err)
{
    const char *text = cli_option(cli, "version");
    *version = 0;
    if (text == NULL || reader_version_parse(text, strlen(text), version)) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "--version %s: the number of a version, from 1 on, is needed",
                     text);
    err_hint(err, "or `--version " READER_CANDIDATE_WORD "`, the newest one on its way to serve");
    return rc;
}
