/* Own header: credential.h. */
#include "cli/credential.h"

#include "serve/people_file.h"

#include <stdlib.h>
#include <string.h>

/* $XDG_CONFIG_HOME/kappa/token or ~/.config/kappa/token; malloc'd, or NULL. */
static char *home_file(void)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (config != NULL && config[0] == '/') {
        return xasprintf("%s/kappa/token", config);
    }
    return home != NULL && home[0] == '/' ? xasprintf("%s/.config/kappa/token", home) : NULL;
}

/* It goes into a header as it is. */
static int check(const char *token, const char *from, struct err *err)
{
    size_t len = strlen(token);
    bool well = len > 0 && len <= TOKEN_LEN_MAX;
    for (size_t i = 0; i < len; i++) {
        well = well && token[i] > ' ' && token[i] <= '~';
    }
    if (!well) {
        int rc = err_set(err, KE_INVALID, "%s does not hold a token", from);
        err_hint(err, "it is the one word that `kappa access add` printed");
        return rc;
    }
    return 0;
}

static int read_token(const char *path, char **out, struct err *err)
{
    struct buf text = {0};
    int rc = people_file_read(path, &text, err);
    if (rc == 0) {
        const char *at = buf_text(&text);
        at += strspn(at, " \t\r\n");
        char *token = xstrdup(at);
        for (size_t len = strlen(token); len > 0 && strchr(" \t\r\n", token[len - 1]) != NULL;
             len--) {
            token[len - 1] = '\0';
        }
        rc = check(token, path, err);
        if (rc == 0) {
            *out = token;
        } else {
            free(token);
        }
    }
    buf_free(&text);
    return rc;
}

static int from_home(char **out, struct err *err)
{
    char *path = home_file();
    struct err trouble;
    int rc = path == NULL ? -KE_NOT_FOUND : read_token(path, out, &trouble);
    free(path);
    if (rc == -KE_NOT_FOUND) {
        return 0;
    }
    if (rc < 0) {
        *err = trouble;
    }
    return rc;
}

int credential_find(const struct cli *cli, const json_t *server, char **out, struct err *err)
{
    const char *file = cli_option(cli, "token-file");
    const char *token = getenv("KAPPA_TOKEN");
    const char *local = json_text(server, "token", NULL);
    *out = NULL;
    if (file != NULL) {
        return read_token(file, out, err);
    }
    if (token != NULL && token[0] != '\0') {
        int rc = check(token, "KAPPA_TOKEN", err);
        *out = rc == 0 ? xstrdup(token) : NULL;
        return rc;
    }
    if (local != NULL) {
        *out = xstrdup(local);
        return 0;
    }
    /* A server of this machine that asks for no token is not shown one. */
    return server != NULL ? 0 : from_home(out, err);
}
