/* Own header: people.h. */
#include "serve/people.h"

#include "base/clock.h"
#include "base/trace.h"
#include "serve/people_token.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEOPLE_MAGIC 0x50454F50U
#define SETTLED_MS                                                                                 \
    2000 /* a file that changed just now may change again in the same tick of its times */
#define SAY_EVERY_US 1000000 /* refusals in the log */

struct people {
    uint32_t magic;
    char *path; /* absolute */
    char local_token[TOKEN_TEXT_LEN + 1];
    struct person local;

    pthread_rwlock_t lock;
    struct people_list list; /* lock */
    uint64_t reading;        /* changes with list; written with the lock, read atomically */

    struct buf text;  /* of the list; the ticking thread's, as all below */
    struct stat seen; /* when it was read */
    int64_t seen_ms;  /* wall clock */
    char *trouble;    /* what was said of a file that is wrong, or NULL */

    struct people_counters counters; /* atomic */
    int64_t said_us;                 /* atomic: when a refusal was last in the log */
    uint64_t unsaid;                 /* atomic: refusals since */
};

/* ---- Reading ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void list_replace(struct people *people, struct people_list *list)
{
    int rc = pthread_rwlock_wrlock(&people->lock);
    ASSERT_CMP(rc, ==, 0);
    uint64_t reading = people->reading + 1;
    for (uint32_t i = 0; i < list->count; i++) {
        list->persons[i].seen = reading;
    }
    people_list_free(&people->list);
    people->list = *list;
    __atomic_store_n(&people->reading, reading, __ATOMIC_RELEASE);
    rc = pthread_rwlock_unlock(&people->lock);
    ASSERT_CMP(rc, ==, 0);
}

/* 1: it says something new. */
static int read_again(struct people *people, struct err *err)
{
    struct buf text = {0};
    struct people_list list = {0};
    int rc = people_file_read(people->path, &text, err);
    bool same = rc == 0 && people->reading > 0 && text.len == people->text.len &&
                strcmp(buf_text(&text), buf_text(&people->text)) == 0;
    if (rc == 0 && !same) {
        rc = people_parse(buf_text(&text), &list, err);
        if (rc < 0) {
            err_prefix(err, "%s", people->path);
        }
    }
    if (rc < 0 || same) {
        buf_free(&text);
        return rc;
    }
    list_replace(people, &list);
    buf_free(&people->text);
    people->text = text;
    return 1;
}

void people_tick(struct people *people)
{
    MAGIC_ASSERT(people, PEOPLE_MAGIC);
    struct stat now = {0};
    bool there = stat(people->path, &now) == 0;
    int64_t changed_ms = (int64_t)now.st_mtim.tv_sec * 1000;
    if (there && same_file(&now, &people->seen) && people->seen_ms > changed_ms + SETTLED_MS) {
        return;
    }
    people->seen = now;
    people->seen_ms = clock_wall_ms(clock_real());
    struct err err = {0};
    int rc = read_again(people, &err);
    if (rc > 0) {
        trace(TRACE_INFO, "%s was read again: %u name%s", people->path, people->list.count,
              people->list.count == 1 ? "" : "s");
    }
    if (rc >= 0) {
        free(people->trouble);
        people->trouble = NULL;
    } else if (people->trouble == NULL || strcmp(people->trouble, err.text) != 0) {
        free(people->trouble);
        people->trouble = xstrdup(err.text);
        trace(TRACE_ERROR, "%s; what it said before goes on counting", err.text);
    }
}

/* Links are followed at each look: some tools change a file by another link. NULL: errno says why. */
static char *absolute(const char *path)
{
    if (path[0] == '/') {
        return xstrdup(path);
    }
    char *here = getcwd(NULL, 0);
    char *whole = here == NULL ? NULL : xasprintf("%s/%s", here, path);
    free(here);
    return whole;
}

int people_open(const char *path, struct people **out, struct err *err)
{
    char *whole = absolute(path);
    if (whole == NULL || access(whole, F_OK) != 0) {
        int rc = err_errno(err, errno, "cannot find the access file %s", path);
        err_hint(err, "kappa access add NAME --role read,operate --access %s makes it", path);
        free(whole);
        return rc;
    }
    struct people *people = xcalloc(1, sizeof *people);
    people->magic = PEOPLE_MAGIC;
    people->path = whole;
    int rc = pthread_rwlock_init(&people->lock, NULL);
    ASSERT_CMP(rc, ==, 0);
    token_new(people->local_token);
    people->local = (struct person){.name = PERSON_LOCAL, .roles = ROLE_ALL};
    token_hash(people->local_token, TOKEN_TEXT_LEN, people->local.hash);
    rc = read_again(people, err);
    if (rc < 0) {
        people_close(people);
        return rc;
    }
    *out = people;
    return 0;
}

void people_close(struct people *people)
{
    if (people == NULL) {
        return;
    }
    MAGIC_ASSERT(people, PEOPLE_MAGIC);
    people_list_free(&people->list);
    buf_free(&people->text);
    (void)pthread_rwlock_destroy(&people->lock);
    explicit_bzero(people->local_token, sizeof people->local_token);
    free(people->trouble);
    free(people->path);
    people->magic = 0;
    free(people);
}

const char *people_path(const struct people *people)
{
    return people->path;
}

const char *people_local_token(const struct people *people)
{
    return people->local_token;
}

const struct people_counters *people_counters(const struct people *people)
{
    return &people->counters;
}

/* ---- Asking ---- */

/* Looks at all of them, whoever it is. */
static bool find_hash(struct people *people, const uint8_t hash[TOKEN_HASH_LEN], struct person *out)
{
    int rc = pthread_rwlock_rdlock(&people->lock);
    ASSERT_CMP(rc, ==, 0);
    bool local = token_hash_same(people->local.hash, hash);
    bool found = local;
    *out = people->local;
    for (uint32_t i = 0; i < people->list.count; i++) {
        const struct person *person = &people->list.persons[i];
        if (token_hash_same(person->hash, hash)) {
            *out = *person;
            found = true;
        }
    }
    out->seen = people->reading;
    rc = pthread_rwlock_unlock(&people->lock);
    ASSERT_CMP(rc, ==, 0);
    return found;
}

bool people_find(struct people *people, const char *token, size_t len, struct person *out)
{
    uint8_t hash[TOKEN_HASH_LEN];
    struct person person;
    token_hash(token, len > TOKEN_LEN_MAX ? 0 : len, hash);
    bool found = find_hash(people, hash, &person) && len > 0 && len <= TOKEN_LEN_MAX;
    *out = found ? person : (struct person){0};
    return found;
}

bool people_still(struct people *people, struct person *person)
{
    if (person->seen == __atomic_load_n(&people->reading, __ATOMIC_ACQUIRE)) {
        return true;
    }
    struct person now;
    if (!find_hash(people, person->hash, &now) || strcmp(now.name, person->name) != 0) {
        return false;
    }
    *person = now;
    return true;
}

/* ---- Refusing ---- */

int people_say(enum people_refusal refusal, uint32_t roles, const struct person *person,
               struct err *err)
{
    struct buf words = {0};
    int rc;
    switch (refusal) {
    case PEOPLE_MISSING:
        rc = err_set(err, KE_UNAUTHORIZED, "this server asks for a token, and none was given");
        err_hint(err,
                 "KAPPA_TOKEN or --token-file FILE; over HTTP: Authorization: Bearer TOKEN; to "
                 "Redis: AUTH TOKEN");
        return rc;
    case PEOPLE_UNKNOWN:
        rc = err_set(err, KE_UNAUTHORIZED, "the token is not one that this server knows");
        err_hint(err, "`kappa access ls` lists who has one, `kappa access add` makes one");
        return rc;
    case PEOPLE_FORBIDDEN:
    default:
        roles_write(roles, " or ", &words);
        rc = err_set(err, KE_FORBIDDEN, "%s lacks the role %s", person->name, buf_text(&words));
        err_hint(err, "whoever keeps the access file of the server gives roles");
        buf_free(&words);
        return rc;
    }
}

static uint64_t *counter_of(struct people *people, enum people_refusal refusal)
{
    return refusal == PEOPLE_MISSING   ? &people->counters.missing
           : refusal == PEOPLE_UNKNOWN ? &people->counters.unknown
                                       : &people->counters.forbidden;
}

void people_refused(struct people *people, enum people_refusal refusal, const char *from,
                    const char *what, const struct person *person)
{
    (void)__atomic_add_fetch(counter_of(people, refusal), 1, __ATOMIC_RELAXED);
    if (refusal == PEOPLE_MISSING) {
        return;
    }
    int64_t now = clock_mono_us(clock_real());
    int64_t said = __atomic_load_n(&people->said_us, __ATOMIC_RELAXED);
    bool turn = (said == 0 || now - said >= SAY_EVERY_US) &&
                __atomic_compare_exchange_n(&people->said_us, &said, now, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED);
    if (!turn) {
        (void)__atomic_add_fetch(&people->unsaid, 1, __ATOMIC_RELAXED);
        return;
    }
    unsigned long long unsaid = __atomic_exchange_n(&people->unsaid, 0, __ATOMIC_RELAXED);
    char more[64] = "";
    if (unsaid > 0) {
        (void)snprintf(more, sizeof more, " (%llu more since the last such line)", unsaid);
    }
    if (refusal == PEOPLE_UNKNOWN) {
        trace(TRACE_WARN, "refused: %s from %s, with a token that nobody has%s", what, from, more);
    } else {
        trace(TRACE_WARN, "refused: %s from %s, of %s, who lacks the role%s", what, from,
              person->name, more);
    }
}
