/* kappa access add, ls, remove: the access file of a server. No server is asked: it sees the file
 * change. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "serve/people_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add_run(struct cli *cli, struct err *err);
static int ls_run(struct cli *cli, struct err *err);
static int remove_run(struct cli *cli, struct err *err);

#define ACCESS_OPTION                                                                              \
    {                                                                                              \
        "access", '\0', "FILE", "the access file (that of the server on the data directory)"       \
    }

static const struct cmd_option add_options[] = {
    {"role", '\0', "ROLE[,ROLE]", "what the person may do: read, write, operate, metrics"},
    ACCESS_OPTION,
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option options[] = {
    ACCESS_OPTION,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_access_add = {
    .name = "access add",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .summary = "give a person or program a token",
    .help =
        "Makes a token, prints it once, and writes its hash into the access file of `kappa up "
        "--access`,\n"
        "which is made when missing. A running server knows it at once. NAME stands in receipts "
        "and events.\n"
        "Roles:\n"
#define X(name, word, help) "  " word ": " help "\n"
#include "serve/roles.def"
#undef X
        "No role has another one in it: who deploys and looks needs read,operate.",
    .examples = "kappa access add alice --role read,operate --access /var/lib/kappa/access\n"
                "(umask 077; kappa access add ci --role read,operate > ~/.config/kappa/token)\n"
                "kappa access add prometheus --role metrics\n",
    .options = add_options,
    .run = add_run,
};

const struct cmd_entry cmd_access_ls = {
    .name = "access ls",
    .args = "",
    .summary = "show who may do what",
    .help =
        "The names of the access file with their roles. Nobody can show a token again: only its "
        "hash is kept.",
    .examples = "kappa access ls\n",
    .options = options,
    .run = ls_run,
};

const struct cmd_entry cmd_access_remove = {
    .name = "access remove",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .summary = "take a person's token away",
    .help = "A running server lets the person in no more, at once; what he follows ends, too. To "
            "give another\n"
            "token, add the name again.",
    .examples = "kappa access remove alice\n",
    .options = options,
    .run = remove_run,
};

static int path_find(const struct cli *cli, char **path, struct err *err)
{
    *path = place_access(cli);
    if (*path != NULL) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "which access file? No server with one runs on %s",
                     place_data(cli));
    err_hint(err, "--access FILE names it, as in `kappa up --access FILE`");
    return rc;
}

static int print_token(const struct cli *cli, const struct person *person, const char *token,
                       const char *path, struct err *err)
{
    struct buf roles = {0};
    roles_write(person->roles, ",", &roles);
    int rc;
    if (cli->json) {
        json_t *made = json_pack("{s:s, s:s, s:s, s:s}", "name", person->name, "roles",
                                 buf_text(&roles), "token", token, "access", path);
        rc = out_json(made, err);
        json_decref(made);
    } else {
        struct buf text = {0};
        buf_printf(&text, "%s\n", token);
        (void)fprintf(stderr, "the token of %s (%s), shown this once:\n", person->name,
                      buf_text(&roles));
        rc = out_write(&text, err);
        buf_free(&text);
    }
    buf_free(&roles);
    return rc;
}

static int add(const struct cli *cli, const char *path, struct person *person, struct err *err)
{
    char token[TOKEN_TEXT_LEN + 1];
    token_new(token);
    token_hash(token, TOKEN_TEXT_LEN, person->hash);
    int rc = people_file_add(path, person, err);
    return rc < 0 ? rc : print_token(cli, person, token, path, err);
}

static int add_run(struct cli *cli, struct err *err)
{
    const char *name = cli->args[0];
    const char *roles = cli_option(cli, "role");
    struct person person = {0};
    char *path = NULL;
    int rc = person_name_check(name, err);
    if (rc == 0 && roles == NULL) {
        rc = err_set(err, KE_INVALID, "what may %s do?", name);
        err_hint(err, "--role is one or more of: %s", roles_words());
    }
    if (rc == 0) {
        memcpy(person.name, name, strlen(name));
        rc = roles_parse(roles, &person.roles, err);
    }
    rc = rc < 0 ? rc : path_find(cli, &path, err);
    rc = rc < 0 ? rc : add(cli, path, &person, err);
    free(path);
    return rc;
}

/* ---- ls ---- */

static int print_list(const struct cli *cli, const struct people_list *list, struct err *err)
{
    static const char *const titles[] = {"NAME", "ROLES"};
    json_t *all = json_array();
    struct buf text = {0};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0);
    out_table_titles(&table, titles);
    for (uint32_t i = 0; i < list->count; i++) {
        struct buf roles = {0};
        roles_write(list->persons[i].roles, ",", &roles);
        out_table_cell(&table, list->persons[i].name);
        out_table_cell(&table, buf_text(&roles));
        (void)json_array_append_new(
            all, json_pack("{s:s, s:s}", "name", list->persons[i].name, "roles", buf_text(&roles)));
        buf_free(&roles);
    }
    out_table_end(&table, cli->colour, &text);
    json_t *answer = json_pack("{s:o}", "people", all);
    int rc = cli->json ? out_json(answer, err) : out_write(&text, err);
    json_decref(answer);
    buf_free(&text);
    return rc;
}

static int ls_run(struct cli *cli, struct err *err)
{
    char *path = NULL;
    struct buf text = {0};
    struct people_list list = {0};
    int rc = path_find(cli, &path, err);
    rc = rc < 0 ? rc : people_file_read(path, &text, err);
    if (rc == 0) {
        rc = people_parse(buf_text(&text), &list, err);
        if (rc < 0) {
            err_prefix(err, "%s", path);
        }
    }
    rc = rc < 0 ? rc : print_list(cli, &list, err);
    people_list_free(&list);
    buf_free(&text);
    free(path);
    return rc;
}

/* ---- remove ---- */

static int remove_run(struct cli *cli, struct err *err)
{
    const char *name = cli->args[0];
    char *path = NULL;
    int rc = path_find(cli, &path, err);
    rc = rc < 0 ? rc : people_file_remove(path, name, err);
    if (rc == 0 && cli->json) {
        json_t *gone = json_pack("{s:s, s:s}", "name", name, "access", path);
        rc = out_json(gone, err);
        json_decref(gone);
    } else if (rc == 0) {
        struct buf said = {0};
        buf_printf(&said, "the token of %s counts no more\n", name);
        rc = out_write(&said, err);
        buf_free(&said);
    }
    free(path);
    return rc;
}
