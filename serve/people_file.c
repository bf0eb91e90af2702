/* Own header: people_file.h. */
#include "serve/people_file.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_PREFIX  "sha256:"
#define OTHERS_MAY   (S_IRWXG | S_IRWXO)
#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.@"

static const char *const role_words[] = {
#define X(name, word, help) word,
#include "serve/roles.def"
#undef X
};

/* ---- Roles and names ---- */

const char *roles_words(void)
{
    static const char words[] =
#define X(name, word, help) ", " word
#include "serve/roles.def"
#undef X
        ;
    return &words[2]; /* without the first comma */
}

static uint32_t role_of(const char *word, size_t len)
{
    for (uint32_t i = 0; i < ROLE_COUNT; i++) {
        if (strlen(role_words[i]) == len && memcmp(role_words[i], word, len) == 0) {
            return 1U << i;
        }
    }
    return 0;
}

int roles_parse(const char *text, uint32_t *roles, struct err *err)
{
    uint32_t found = 0;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        uint32_t role = role_of(at, len);
        if (role == 0) {
            int rc =
                err_set(err, KE_INVALID, "\"%.*s\" is not a role", (int)(len > 12 ? 12 : len), at);
            err_hint(err, "roles are %s; several with commas and without blanks", roles_words());
            return rc;
        }
        found |= role;
        at += len;
        if (*at == '\0') {
            *roles = found;
            return 0;
        }
    }
}

void roles_write(uint32_t roles, const char *between, struct buf *out)
{
    const char *comma = "";
    for (uint32_t i = 0; i < ROLE_COUNT; i++) {
        if ((roles & 1U << i) != 0) {
            buf_printf(out, "%s%s", comma, role_words[i]);
            comma = between;
        }
    }
}

int person_name_check(const char *name, struct err *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > PERSON_NAME_LEN || strspn(name, NAME_LETTERS) != len) {
        return err_set(err, KE_INVALID,
                       "\"%.80s\" is not a name: letters, digits and _ - . @, at most %d of them",
                       name, PERSON_NAME_LEN);
    }
    if (strcmp(name, PERSON_LOCAL) == 0 || strcmp(name, "default") == 0) {
        int rc = err_set(err, KE_INVALID, "the name \"%s\" is taken", name);
        err_hint(err, "\"" PERSON_LOCAL "\" is who can read the server's files, \"default\" is "
                      "nobody in particular to Redis clients");
        return rc;
    }
    return 0;
}

/* ---- Lines ---- */

#define BLANKS " \t\r"

/* The next word of a line, or NULL; *at goes behind it. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, BLANKS);
    if (*word == '\0') {
        return NULL;
    }
    *at = word + strcspn(word, BLANKS);
    if (**at != '\0') {
        *(*at)++ = '\0';
    }
    return word;
}

static int hash_parse(const char *text, uint8_t hash[TOKEN_HASH_LEN], struct err *err)
{
    size_t prefix = sizeof HASH_PREFIX - 1;
    bool well = strncmp(text, HASH_PREFIX, prefix) == 0 &&
                strlen(text) == prefix + (size_t)2 * TOKEN_HASH_LEN;
    for (size_t i = 0; well && i < TOKEN_HASH_LEN; i++) {
        int high = hex_digit(text[prefix + 2 * i]);
        int low = hex_digit(text[prefix + 2 * i + 1]);
        well = high >= 0 && low >= 0;
        hash[i] = (uint8_t)(well ? high * 16 + low : 0);
    }
    if (!well) {
        int rc = err_set(err, KE_INVALID, "the third word is not the hash of a token");
        err_hint(err, "it is " HASH_PREFIX " and 64 hexadecimal digits; `kappa access add` writes "
                      "such lines, and the token itself does not belong here");
        return rc;
    }
    return 0;
}

static int line_parse(char *line, struct person *out, struct err *err)
{
    char *at = line;
    const char *name = next_word(&at);
    const char *roles = next_word(&at);
    const char *hash = next_word(&at);
    if (hash == NULL || next_word(&at) != NULL) {
        return err_set(err, KE_INVALID, "it is not NAME ROLE[,ROLE] TOKEN-HASH");
    }
    *out = (struct person){0};
    int rc = person_name_check(name, err);
    rc = rc < 0 ? rc : roles_parse(roles, &out->roles, err);
    rc = rc < 0 ? rc : hash_parse(hash, out->hash, err);
    if (rc == 0) {
        memcpy(out->name, name, strlen(name));
    }
    return rc;
}

/* Of a line that is neither empty nor a comment. */
static int line_add(struct people_list *list, char *line, struct err *err)
{
    struct person person;
    int rc = line_parse(line, &person, err);
    if (rc == 0 && people_list_find(list, person.name) != NULL) {
        rc = err_set(err, KE_INVALID, "%s stands in the file twice", person.name);
    }
    if (rc == 0 && list->count == PEOPLE_MAX) {
        rc = err_set(err, KE_LIMIT, "more than %d names", PEOPLE_MAX);
    }
    if (rc == 0) {
        list->persons[list->count++] = person;
    }
    return rc;
}

static bool is_comment(const char *line)
{
    line += strspn(line, BLANKS);
    return *line == '\0' || *line == '#';
}

int people_parse(const char *text, struct people_list *out, struct err *err)
{
    struct people_list list = {xcalloc(PEOPLE_MAX, sizeof(struct person)), 0};
    char *copy = xstrdup(text);
    char *next = copy;
    int rc = 0;
    for (int number = 1; rc == 0 && next != NULL; number++) {
        char *line = strsep(&next, "\n");
        if (!is_comment(line)) {
            rc = line_add(&list, line, err);
            if (rc < 0) {
                err_prefix(err, "line %d", number);
            }
        }
    }
    free(copy);
    if (rc < 0) {
        people_list_free(&list);
        return rc;
    }
    *out = list;
    return 0;
}

void people_list_free(struct people_list *list)
{
    free(list->persons);
    *list = (struct people_list){0};
}

const struct person *people_list_find(const struct people_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->persons[i].name, name) == 0) {
            return &list->persons[i];
        }
    }
    return NULL;
}

/* ---- The file ---- */

static int read_open(int fd, const char *path, struct stat *status, struct buf *text,
                     struct err *err)
{
    if (fstat(fd, status) != 0) {
        return err_errno(err, errno, "cannot look at %s", path);
    }
    if (!S_ISREG(status->st_mode)) {
        return err_set(err, KE_INVALID, "%s is not a file", path);
    }
    if ((status->st_mode & OTHERS_MAY) != 0) {
        int rc = err_set(err, KE_REFUSED,
                         "%s may be read or written by others than its owner (mode %04o)", path,
                         (unsigned)(status->st_mode & 07777));
        err_hint(err, "chmod 600 %s", path);
        return rc;
    }
    int rc = file_read_fd(fd, path, PEOPLE_FILE_BYTES, text, err);
    if (rc == 0 && text->len > PEOPLE_FILE_BYTES) {
        rc = err_set(err, KE_LIMIT, "%s is larger than %u bytes", path, PEOPLE_FILE_BYTES);
    }
    if (rc == 0 && strlen(buf_text(text)) != text->len) {
        rc = err_set(err, KE_INVALID, "%s is not a text", path);
    }
    return rc;
}

static int read_whole(const char *path, struct stat *status, struct buf *text, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    int rc = read_open(fd, path, status, text, err);
    (void)close(fd);
    return rc;
}

int people_file_read(const char *path, struct buf *text, struct err *err)
{
    struct stat status;
    return read_whole(path, &status, text, err);
}

/* The folder of a path; malloc'd. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL   ? xstrdup(".")
           : slash == path ? xstrdup("/")
                           : xstrndup(path, (size_t)(slash - path));
}

/* Written by root, the file goes on belonging to the user of the server: that of the file before, or
 * of the folder. */
static int keep_owner(int fd, const char *path, const struct stat *owner, struct err *err)
{
    bool same = owner->st_uid == geteuid() || geteuid() != 0;
    return same || fchown(fd, owner->st_uid, owner->st_gid) == 0
               ? 0
               : err_errno(err, errno, "cannot give %s to its owner", path);
}

/* The new text beside the old one, then in its place. */
static int replace(const char *path, const char *folder, const struct stat *owner,
                   const struct buf *text, struct err *err)
{
    char *beside = xasprintf("%s.new", path);
    (void)unlink(beside); /* of one that died: whoever writes holds the lock */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? err_errno(err, errno, "cannot create %s", beside) : 0;
    rc = rc < 0 ? rc : keep_owner(fd, beside, owner, err);
    rc = rc < 0 ? rc : file_write_at(fd, text->data, text->len, 0, beside, err);
    rc = rc < 0 ? rc : file_sync(fd, beside, err);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc == 0 && rename(beside, path) != 0) {
        rc = err_errno(err, errno, "cannot replace %s", path);
    }
    if (rc == 0) {
        rc = file_sync_dir(folder, err);
    } else if (fd >= 0) {
        (void)unlink(beside);
    }
    free(beside);
    return rc;
}

/* How a file is changed: the old text and what it says in, the new one out. */
typedef int (*edit_fn)(const struct buf *old, const struct people_list *list, const void *what,
                       struct buf *out, struct err *err);

static int edit_held(const char *path, const char *folder, int lock, bool make, edit_fn edit,
                     const void *what, struct err *err)
{
    struct stat owner = {0};
    struct buf old = {0};
    struct buf text = {0};
    int rc = read_whole(path, &owner, &old, err);
    if (rc == -KE_NOT_FOUND && make) {
        rc = fstat(lock, &owner) == 0 ? 0 : err_errno(err, errno, "cannot look at %s", folder);
    }
    struct people_list list = {0};
    if (rc == 0) {
        rc = people_parse(buf_text(&old), &list, err);
        if (rc < 0) {
            err_prefix(err, "%s", path);
        }
    }
    if (rc == 0) {
        rc = edit(&old, &list, what, &text, err);
    }
    if (rc == 0) {
        rc = replace(path, folder, &owner, &text, err);
    }
    people_list_free(&list);
    buf_free(&old);
    buf_free(&text);
    return rc;
}

static int edit_file(const char *path, bool make, edit_fn edit, const void *what, struct err *err)
{
    char *folder = folder_of(path);
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = lock < 0 || flock(lock, LOCK_EX) != 0
                 ? err_errno(err, errno, "cannot open the folder %s", folder)
                 : edit_held(path, folder, lock, make, edit, what, err);
    if (lock >= 0) {
        (void)close(lock);
    }
    free(folder);
    return rc;
}

static int edit_add(const struct buf *old, const struct people_list *list, const void *what,
                    struct buf *out, struct err *err)
{
    const struct person *person = what;
    if (people_list_find(list, person->name) != NULL) {
        int rc = err_set(err, KE_EXISTS, "%s has a token already", person->name);
        err_hint(err, "`kappa access remove %s` takes it away", person->name);
        return rc;
    }
    if (list->count == PEOPLE_MAX) {
        return err_set(err, KE_LIMIT, "the access file has %d names already", PEOPLE_MAX);
    }
    buf_append_text(out, buf_text(old));
    if (out->len == 0) {
        buf_append_text(out, "# NAME ROLE[,ROLE] TOKEN-HASH: who may do what (kappa help up)\n");
    } else if (out->data[out->len - 1] != '\n') {
        buf_append_u8(out, '\n');
    }
    buf_printf(out, "%s ", person->name);
    roles_write(person->roles, ",", out);
    buf_append_text(out, " " HASH_PREFIX);
    for (size_t i = 0; i < TOKEN_HASH_LEN; i++) {
        buf_printf(out, "%02x", person->hash[i]);
    }
    buf_append_u8(out, '\n');
    return 0;
}

int people_file_add(const char *path, const struct person *person, struct err *err)
{
    return edit_file(path, true, edit_add, person, err);
}

static int edit_remove(const struct buf *old, const struct people_list *list, const void *what,
                       struct buf *out, struct err *err)
{
    const char *name = what;
    size_t len = strlen(name);
    if (people_list_find(list, name) == NULL) {
        return err_set(err, KE_NOT_FOUND, "there is no %s in the access file", name);
    }
    const char *line = buf_text(old);
    while (*line != '\0') {
        size_t line_len = strcspn(line, "\n");
        const char *word = line + strspn(line, BLANKS);
        bool it = strcspn(word, BLANKS "\n") == len && memcmp(word, name, len) == 0;
        if (!it) {
            buf_append(out, line, line_len);
            buf_append_u8(out, '\n');
        }
        line += line_len + (line[line_len] == '\n');
    }
    return 0;
}

int people_file_remove(const char *path, const char *name, struct err *err)
{
    return edit_file(path, false, edit_remove, name, err);
}
