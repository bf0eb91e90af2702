/* --corrections of commands after which another version serves. Own header: corrections.h. */
#include "cli/corrections.h"

#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "cli/output.h"
#include "cli/place.h"

int corrections_asked(const struct cli *cli, struct err *err)
{
    if (cli_option(cli, "corrections") == NULL) {
        return 0;
    }
    if (place_server(cli) == NULL) {
        return 1;
    }
    int rc = err_set(err, KE_REFUSED,
                     "--corrections reads the data directory: nothing was asked of the server");
    err_hint(err, "run it where the server runs, with --data DIR, or without --corrections");
    return rc;
}

static int text_say(const struct cli *cli, const json_t *answer, struct err *err)
{
    struct buf text = {0};
    corrections_text(cli, answer, &text);
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

int corrections_follow(const struct cli *cli, const char *processor, json_t *said, struct err *err)
{
    json_t *answer = NULL;
    int rc = corrections_run(cli, processor, true, 0, &answer, err);
    if (rc == 0 && !cli->json) {
        rc = text_say(cli, answer, err);
    } else if (rc == 0) {
        json_t *all = json_object_get(said, "corrections");
        if (all == NULL) {
            all = json_array();
            (void)json_object_set_new(said, "corrections", all);
        }
        (void)json_array_append(all, answer);
    }
    json_decref(answer);
    return rc;
}

/* One that changed over with others: what is in its way is not in theirs. before: of those done already,
 * whose error is the one that is kept. */
static int member_follow(const struct cli *cli, const char *processor, json_t *receipt, int before,
                         struct err *err)
{
    struct err own = {0};
    int rc = corrections_follow(cli, processor, receipt, &own);
    if (rc == 0) {
        return before;
    }
    err_prefix(&own, "corrections of %s", processor);
    if (before == 0) {
        *err = own;
        return rc;
    }
    (void)fprintf(stderr, "error: %s\n", own.text);
    return before;
}

int corrections_follow_receipt(const struct cli *cli, json_t *receipt, struct err *err)
{
    const char *processor = json_text(receipt, "processor", "");
    json_t *members = json_object_get(json_object_get(receipt, "group"), "members");
    const char *name;
    json_t *member;
    int rc = cli->json ? 0 : call_print_receipt(cli, receipt, err);
    rc = member_follow(cli, processor, receipt, rc, err);
    json_object_foreach (members, name, member) {
        if (strcmp(name, processor) != 0) {
            rc = member_follow(cli, name, receipt, rc, err);
        }
    }
    if (cli->json) { /* the swap is made, whatever came behind it */
        struct err ignored = {0};
        int printed = call_print_receipt(cli, receipt, rc == 0 ? err : &ignored);
        rc = rc == 0 ? printed : rc;
    }
    return rc;
}
