/* Who asks over Redis: AUTH, HELLO ... AUTH, and what is answered before. Own header:
 * redis_private.h. The words are those of Redis, for clients look at them. */
#include "serve/redis_private.h"

#include <string.h>

static struct people *people_of(const struct redis_session *session)
{
    return session->context->people;
}

bool redis_login(struct redis_session *session, const struct redis_arg *name,
                 const struct redis_arg *token)
{
    struct people *people = people_of(session);
    struct person person;
    if (people == NULL) {
        redis_reply_error(&session->reply,
                          "ERR AUTH called without any password configured: there are none here, "
                          "whoever reaches this port may read");
        return false;
    }
    bool found = people_find(people, token->text, token->len, &person);
    if (found && name != NULL && !redis_arg_is(name, REDIS_ANYBODY)) {
        found = strlen(person.name) == name->len && memcmp(person.name, name->text, name->len) == 0;
    }
    if (!found) { /* who was let in before is so still, as with Redis */
        people_refused(people, PEOPLE_UNKNOWN, session->address, "AUTH to Redis", NULL);
        redis_reply_error(&session->reply,
                          "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    session->person = person;
    return true;
}

void redis_auth(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    if (count > 3) {
        redis_reply_error(&session->reply, "ERR syntax error");
    } else if (redis_login(session, count == 3 ? &args[1] : NULL, &args[count - 1])) {
        redis_reply_status(&session->reply, "OK");
    }
}

bool redis_known(struct redis_session *session)
{
    struct people *people = people_of(session);
    if (people == NULL) {
        return true;
    }
    if (session->person.name[0] != '\0' && !people_still(people, &session->person)) {
        session->person = (struct person){0};
    }
    return session->person.name[0] != '\0';
}

bool redis_let_in(struct redis_session *session, const struct redis_command *command)
{
    bool open = command->run == redis_auth || command->run == redis_hello ||
                command->run == redis_quit || command->run == redis_reset;
    if (open || people_of(session) == NULL) {
        return true;
    }
    if (!redis_known(session)) {
        people_refused(people_of(session), PEOPLE_MISSING, session->address, command->name, NULL);
        redis_reply_error(&session->reply, "NOAUTH Authentication required.");
        return false;
    }
    if ((session->person.roles & ROLE_READ) == 0) {
        people_refused(people_of(session), PEOPLE_FORBIDDEN, session->address, command->name,
                       &session->person);
        redis_reply_error(&session->reply,
                          "NOPERM User %s has no permissions to run the '%s' command: it needs the "
                          "role read",
                          session->person.name, command->name);
        return false;
    }
    return true;
}
