/* kappa init: a project to begin with. Its files are in cli/project, and part of the binary. */
#include "cli/cmd.h"

#include "base/embed.h"
#include "base/file.h"
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int init_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_init = {
    .name = "init",
    .args = "[DIR]",
    .args_max = 1,
    .summary = "make an example project in a folder, to begin with",
    .help = "A definition with comments, some events, options of the server, and a README.md that "
            "says what to\n"
            "type. The folder is made when missing (default: this one). No file that is there is "
            "changed: then\n"
            "it is refused, and nothing is made. Needs no server.",
    .examples = "kappa init shop && cd shop && less README.md\n",
    .options = options,
    .run = init_run,
};

#define X(symbol, path) EMBED(project_##symbol, "cli/project/" path)
#include "cli/project.def"
#undef X

static const struct project_file {
    const char *path;
    const uint8_t *bytes;
    const uint8_t *end;
} project[] = {

#define X(symbol, path) {path, embed_project_##symbol, embed_project_##symbol##_end},
#include "cli/project.def"
#undef X
};

/* Of the folder, and of the folders inside that a file wants. */
static int make_dirs(const char *dir, struct err *err)
{
    int rc = file_make_dir(dir, err);
    for (size_t i = 0; rc == 0 && i < array_len(project); i++) {
        const char *slash = strchr(project[i].path, '/');
        if (slash != NULL) {
            char *path = xasprintf("%s/%.*s", dir, (int)(slash - project[i].path), project[i].path);
            rc = file_make_dir(path, err);
            free(path);
        }
    }
    return rc;
}

static int check_free(const char *dir, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < array_len(project); i++) {
        struct stat found;
        char *path = xasprintf("%s/%s", dir, project[i].path);
        if (lstat(path, &found) == 0 || errno != ENOENT) {
            rc = err_set(err, KE_EXISTS, "%s is there already", path);
            err_hint(err, "name another folder: kappa init DIR");
        }
        free(path);
    }
    return rc;
}

static int init_run(struct cli *cli, struct err *err)
{
    const char *dir = cli->arg_count > 0 ? cli->args[0] : ".";
    struct buf out = {0};
    json_t *made = json_array();
    int rc = check_free(dir, err);
    rc = rc < 0 ? rc : make_dirs(dir, err);
    for (size_t i = 0; rc == 0 && i < array_len(project); i++) {
        int fd;
        char *path = xasprintf("%s/%s", dir, project[i].path);
        rc = file_create(path, project[i].bytes, (size_t)(project[i].end - project[i].bytes), &fd,
                         err);
        if (rc == 0) {
            (void)close(fd);
            buf_printf(&out, "made %s\n", path);
            json_array_append_new(made, json_string(path));
        }
        free(path);
    }
    if (rc == 0 && cli->json) {
        json_t *answer = json_pack("{s:O}", "made", made);
        rc = out_json(answer, err);
        json_decref(answer);
    } else if (rc == 0) {
        buf_printf(&out, "%s/README.md says what to type next\n", dir);
        rc = out_write(&out, err);
    }
    json_decref(made);
    buf_free(&out);
    return rc;
}
