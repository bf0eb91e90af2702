/* Regular expressions by PCRE2. Own header: expr_regex.h, functions.def.
 *
 * A constant pattern is compiled once, into the plan's memory (step->prepared), and shared by
 * threads; another one for each row that brings a new one, into the memory of the batch. PCRE2 takes
 * all its memory from arenas: matching allocates once a batch. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "processor/expr_regex.h"

#include "base/limits.h"
#include "processor/functions.h"
#include "processor/letter.h"

#include <pcre2.h>
#include <string.h>

#define GROUPS 10 /* \0 to \9 */
#define NO_ARG UINT32_MAX

/* Evaluators with a pattern. */
struct use {
    expr_run_fn run;
    uint32_t flags; /* the argument that holds flags, if the call has it */
    bool fold;      /* in any case */
    bool global;    /* takes the flag g */
};

static const struct use uses[] = {
    {expr_regex_match, NO_ARG, false, false},  {expr_regex_match_fold, NO_ARG, true, false},
    {expr_regex_differ, NO_ARG, false, false}, {expr_regex_differ_fold, NO_ARG, true, false},
    {expr_regexp_like, 2, false, false},       {expr_regexp_match, 2, false, false},
    {expr_regexp_replace, 3, false, true},     {expr_regexp_count, 3, false, false},
    {expr_regexp_substr, 4, false, false},
};

struct regex {
    pcre2_code *code;
    uint32_t groups;
    bool global;
};

static const struct use *use_find(expr_run_fn run)
{
    for (size_t i = 0; i < array_len(uses); i++) {
        if (uses[i].run == run) {
            return &uses[i];
        }
    }
    return NULL;
}

bool expr_regex_is(expr_run_fn run)
{
    return use_find(run) != NULL;
}

/* ---- Compiling. */

static void *arena_malloc(size_t size, void *arena)
{
    return arena_alloc(arena, size);
}

static void arena_keep(void *pointer, void *arena)
{
    (void)pointer; /* given back with the arena */
    (void)arena;
}

/* False for a letter that is not a flag. */
static bool read_flags(struct kappa_text flags, uint32_t *options, bool *global)
{
    for (uint32_t i = 0; i < flags.len; i++) {
        switch (flags.bytes[i]) {
        case 'g':
            *global = true;
            break;
        case 'i':
            *options |= PCRE2_CASELESS;
            break;
        case 'c':
            *options &= ~PCRE2_CASELESS;
            break;
        case 'n':
        case 'm': /* lines: a point does not match a newline, ^ and $ are theirs */
            *options = (*options & ~PCRE2_DOTALL) | PCRE2_MULTILINE;
            break;
        case 'p':
            *options &= ~(PCRE2_DOTALL | PCRE2_MULTILINE);
            break;
        case 'w':
            *options |= PCRE2_DOTALL | PCRE2_MULTILINE;
            break;
        case 's':
            *options = (*options & ~PCRE2_MULTILINE) | PCRE2_DOTALL;
            break;
        case 'x':
            *options |= PCRE2_EXTENDED;
            break;
        case 't':
            *options &= ~PCRE2_EXTENDED;
            break;
        case 'q':
            *options |= PCRE2_LITERAL;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* What PCRE2 takes beside PCRE2_LITERAL. */
#define LITERAL_OPTIONS (PCRE2_LITERAL | PCRE2_CASELESS | PCRE2_UTF)

/* NULL: *problem is PCRE2's code of what is wrong in the pattern, or 0: a flag. */
static struct regex *regex_new(struct arena *memory, struct kappa_text pattern,
                               struct kappa_text flags, const struct use *use, int *problem)
{
    struct regex *regex = arena_calloc(memory, sizeof *regex);
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
                       PCRE2_NEVER_BACKSLASH_C | (use->fold ? PCRE2_CASELESS : 0);
    size_t at;
    *problem = 0;
    if (!read_flags(flags, &options, &regex->global) || (regex->global && !use->global)) {
        return NULL;
    }
    if ((options & PCRE2_LITERAL) != 0) {
        options &= LITERAL_OPTIONS;
    }
    pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_keep, memory);
    pcre2_compile_context *context = pcre2_compile_context_create(general);
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    (void)pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    (void)pcre2_set_max_pattern_length(context, REGEX_PATTERN_MAX);
    regex->code =
        pcre2_compile((PCRE2_SPTR)pattern.bytes, pattern.len, options, problem, &at, context);
    if (regex->code == NULL) {
        return NULL;
    }
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    return regex;
}

static bool is_constant(const struct expr_node *node)
{
    return node->kind == EXPR_NODE_CONSTANT && node->type == KAPPA_TYPE_TEXT &&
           !node->constant.is_null;
}

/* The call's constant pattern and flags; false if they are not all constants. */
static bool constant_parts(const struct expr_node *call, struct kappa_text *pattern,
                           struct kappa_text *flags, uint32_t *flags_arg)
{
    const struct use *use = use_find(call->run);
    ASSERT(use != NULL);
    uint32_t arg = use->flags;
    bool has_flags = arg < call->arg_count;
    *flags = (struct kappa_text){"", 0};
    *flags_arg = arg;
    if (!is_constant(call->args[1]) || (has_flags && !is_constant(call->args[arg]))) {
        return false;
    }
    *pattern = call->args[1]->constant.s;
    if (has_flags) {
        *flags = call->args[arg]->constant.s;
    }
    return true;
}

bool expr_regex_check(const struct expr_node *call, char *message, uint32_t *argument)
{
    struct kappa_text pattern;
    struct kappa_text flags;
    uint32_t flags_arg;
    if (!constant_parts(call, &pattern, &flags, &flags_arg)) {
        return true;
    }
    struct arena memory;
    arena_init(&memory);
    int problem;
    bool ok = regex_new(&memory, pattern, flags, use_find(call->run), &problem) != NULL;
    arena_free(&memory);
    *argument = problem == 0 ? flags_arg : 1;
    message[0] = '\0';
    if (!ok && problem != 0) {
        (void)pcre2_get_error_message(problem, (PCRE2_UCHAR *)message, REGEX_MESSAGE_BYTES);
    }
    return ok;
}

const void *expr_regex_prepare(const struct expr_node *call, struct arena *memory)
{
    const struct use *use = use_find(call->run);
    struct kappa_text pattern;
    struct kappa_text flags;
    uint32_t flags_arg;
    if (use == NULL || !constant_parts(call, &pattern, &flags, &flags_arg)) {
        return NULL;
    }
    int problem;
    return regex_new(memory, pattern, flags, use, &problem);
}

/* ---- One evaluation of a step. */

struct regex_run {
    const struct use *use;
    const struct regex *prepared;
    const struct kappa_text *text;
    const struct kappa_text *pattern;
    const struct kappa_text *flags; /* or NULL */
    struct arena *memory;
    pcre2_match_data *match;
    pcre2_match_context *context;
    const struct regex *memo; /* of the pattern and flags below */
    struct kappa_text memo_pattern;
    struct kappa_text memo_flags;
    struct expr_vec *out;
    uint32_t count;   /* of rows */
    uint32_t next;    /* row to look at */
    uint32_t row;     /* the one at hand */
    uint32_t options; /* of the row at hand */
};

static struct regex_run regex_begin(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    struct regex_run run = {.use = use_find(step->run),
                            .prepared = step->prepared,
                            .memory = frame->texts,
                            .out = expr_out(step, frame),
                            .count = frame->n};
    ASSERT(run.use != NULL);
    run.text = expr_arg(step, frame, 0)->s;
    run.pattern = expr_arg(step, frame, 1)->s;
    run.flags = run.use->flags < step->arg_count ? expr_arg(step, frame, run.use->flags)->s : NULL;
    pcre2_general_context *general =
        pcre2_general_context_create(arena_malloc, arena_keep, frame->texts);
    run.match = pcre2_match_data_create(GROUPS, general);
    run.context = pcre2_match_context_create(general);
    (void)pcre2_set_match_limit(run.context, REGEX_STEPS_MAX);
    (void)pcre2_set_heap_limit(run.context, REGEX_HEAP_KIB_MAX);
    return run;
}

/* The expression for row i, and the options for its text; NULL when the pattern is none. */
static const struct regex *regex_of(struct regex_run *run, uint32_t i)
{
    run->options = text_is_ascii(run->text[i]) ? PCRE2_NO_UTF_CHECK : 0;
    if (run->prepared != NULL) {
        return run->prepared;
    }
    struct kappa_text flags = run->flags == NULL ? (struct kappa_text){"", 0} : run->flags[i];
    if (run->memo == NULL || !expr_same_text(run->memo_pattern, run->pattern[i]) ||
        !expr_same_text(run->memo_flags, flags)) {
        int problem;
        run->memo_pattern = run->pattern[i];
        run->memo_flags = flags;
        run->memo = regex_new(run->memory, run->pattern[i], flags, run->use, &problem);
    }
    return run->memo;
}

/* The expression for the next row whose arguments are values, NULL behind the last row. Rows whose
 * pattern is none are errors, and passed over. */
static const struct regex *regex_row(struct regex_run *run)
{
    while (run->next < run->count) {
        uint32_t i = run->next++;
        if (run->out->state[i] != EXPR_OK) {
            continue;
        }
        const struct regex *regex = regex_of(run, i);
        if (regex != NULL) {
            run->row = i;
            return regex;
        }
        run->out->state[i] = EXPR_ERROR_ARGUMENT;
    }
    return NULL;
}

enum found { FOUND_NOTHING, FOUND, FOUND_ERROR };

/* The first match in the row's text at or behind a byte; its groups are in run->match. On
 * FOUND_ERROR the row's state is set. */
static enum found regex_find(struct regex_run *run, const struct regex *regex, size_t from)
{
    struct kappa_text text = run->text[run->row];
    int rc = pcre2_match(regex->code, (PCRE2_SPTR)text.bytes, text.len, from, run->options,
                         run->match, run->context);
    if (rc >= 0) {
        run->options |= PCRE2_NO_UTF_CHECK; /* it was checked */
        return FOUND;
    }
    if (rc == PCRE2_ERROR_NOMATCH) {
        return FOUND_NOTHING;
    }
    bool effort =
        rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT;
    run->out->state[run->row] = effort ? EXPR_ERROR_EFFORT : EXPR_ERROR_ARGUMENT;
    return FOUND_ERROR;
}

/* Group k of the match; false if it took no part in it, or there is none. */
static bool regex_group(const struct regex_run *run, const struct regex *regex,
                        struct kappa_text text, uint32_t k, struct kappa_text *out)
{
    if (k > regex->groups || k >= GROUPS) {
        return false; /* PCRE2 leaves these places unset */
    }
    const size_t *places = pcre2_get_ovector_pointer(run->match);
    size_t from = places[(size_t)2 * k];
    size_t to = places[(size_t)2 * k + 1];
    if (from == PCRE2_UNSET || from > to) { /* \K in a lookahead may turn them round */
        return false;
    }
    *out = (struct kappa_text){text.bytes + from, (uint32_t)(to - from)};
    return true;
}

/* Where to look for the next match: behind this one, a character further if it was empty. */
static size_t regex_next(const struct regex_run *run, struct kappa_text text, size_t from)
{
    const size_t *places = pcre2_get_ovector_pointer(run->match);
    size_t end = places[1];
    if (end > places[0] && end > from) {
        return end;
    }
    end = end > from ? end : from;
    return end >= text.len ? text.len + (size_t)1 : character_end(text, (uint32_t)end);
}

/* ---- Evaluators. */

static void match_run(const struct expr_step *step, const struct expr_frame *frame, bool negated)
{
    struct regex_run run = regex_begin(step, frame);
    for (const struct regex *regex; (regex = regex_row(&run)) != NULL;) {
        run.out->i[run.row] = (regex_find(&run, regex, 0) == FOUND) != negated;
    }
}

void expr_regex_match(const struct expr_step *step, const struct expr_frame *frame)
{
    match_run(step, frame, false);
}

void expr_regex_match_fold(const struct expr_step *step, const struct expr_frame *frame)
{
    match_run(step, frame, false);
}

void expr_regex_differ(const struct expr_step *step, const struct expr_frame *frame)
{
    match_run(step, frame, true);
}

void expr_regex_differ_fold(const struct expr_step *step, const struct expr_frame *frame)
{
    match_run(step, frame, true);
}

/* (text, pattern, [flags]) */
void expr_regexp_like(const struct expr_step *step, const struct expr_frame *frame)
{
    match_run(step, frame, false);
}

/* The n-th match in the row's text at or behind a byte. */
static enum found find_nth(struct regex_run *run, const struct regex *regex, size_t from, int64_t n)
{
    struct kappa_text text = run->text[run->row];
    enum found found = FOUND_NOTHING;
    for (int64_t k = 0; k < n; k++) {
        if (from > text.len) {
            return FOUND_NOTHING;
        }
        found = regex_find(run, regex, from);
        if (found != FOUND) {
            break;
        }
        from = regex_next(run, text, from);
    }
    return found;
}

/* The row's value is group k of what was found, else null. */
static void store_group(const struct regex_run *run, const struct regex *regex, enum found found,
                        int64_t k)
{
    uint32_t i = run->row;
    if (found == FOUND_ERROR) {
        return;
    }
    if (found != FOUND || k >= GROUPS ||
        !regex_group(run, regex, run->text[i], (uint32_t)k, &run->out->s[i])) {
        run->out->state[i] = EXPR_NULL;
    }
}

/* (text, pattern, [flags]): the first group, or all that matched if the pattern has none. */
void expr_regexp_match(const struct expr_step *step, const struct expr_frame *frame)
{
    struct regex_run run = regex_begin(step, frame);
    for (const struct regex *regex; (regex = regex_row(&run)) != NULL;) {
        store_group(&run, regex, regex_find(&run, regex, 0), regex->groups > 0 ? 1 : 0);
    }
}

/* The byte of a start that counts characters from 1; false if it is before the text. */
static bool start_byte(struct kappa_text text, int64_t start, size_t *from)
{
    if (start < 1) {
        return false;
    }
    *from =
        start - 1 > character_count(text) ? (size_t)text.len + 1 : character_at(text, start - 1);
    return true;
}

static int64_t arg_or(const struct expr_step *step, const struct expr_frame *frame, uint32_t k,
                      uint32_t row, int64_t otherwise)
{
    return k < step->arg_count ? expr_arg(step, frame, k)->i[row] : otherwise;
}

/* (text, pattern, [start, n, [flags, group]]) */
void expr_regexp_substr(const struct expr_step *step, const struct expr_frame *frame)
{
    struct regex_run run = regex_begin(step, frame);
    for (const struct regex *regex; (regex = regex_row(&run)) != NULL;) {
        uint32_t i = run.row;
        int64_t n = arg_or(step, frame, 3, i, 1);
        int64_t group = arg_or(step, frame, 5, i, 0);
        group = group == 1 && regex->groups == 0 ? 0 : group; /* as PostgreSQL */
        size_t from = 0;
        if (n < 1 || group < 0 || !start_byte(run.text[i], arg_or(step, frame, 2, i, 1), &from)) {
            run.out->state[i] = EXPR_ERROR_ARGUMENT;
            continue;
        }
        store_group(&run, regex, find_nth(&run, regex, from, n), group);
    }
}

/* (text, pattern, [start, [flags]]) */
void expr_regexp_count(const struct expr_step *step, const struct expr_frame *frame)
{
    struct regex_run run = regex_begin(step, frame);
    for (const struct regex *regex; (regex = regex_row(&run)) != NULL;) {
        uint32_t i = run.row;
        size_t from = 0;
        if (!start_byte(run.text[i], arg_or(step, frame, 2, i, 1), &from)) {
            run.out->state[i] = EXPR_ERROR_ARGUMENT;
            continue;
        }
        int64_t count = 0;
        while (from <= run.text[i].len && regex_find(&run, regex, from) == FOUND) {
            count++;
            from = regex_next(&run, run.text[i], from);
        }
        run.out->i[i] = count;
    }
}

/* ---- Replacing. */

/* A text that grows in an arena. */
struct growing {
    struct arena *memory;
    char *bytes;
    size_t len;
    size_t capacity;
};

static void grow(struct growing *text, const char *bytes, size_t len)
{
    if (text->len + len > text->capacity) {
        text->capacity = (text->len + len) * 2;
        char *larger = arena_alloc(text->memory, text->capacity);
        if (text->bytes != NULL) {
            memcpy(larger, text->bytes, text->len);
        }
        text->bytes = larger;
    }
    if (len > 0 && text->bytes != NULL) {
        memcpy(text->bytes + text->len, bytes, len);
        text->len += len;
    }
}

/* \1 to \9: groups; \&: all that matched; \\: a backslash; another \ stands for itself. */
static void grow_replacement(struct growing *text, const struct regex_run *run,
                             const struct regex *regex, struct kappa_text subject,
                             struct kappa_text with)
{
    for (uint32_t k = 0; k < with.len; k++) {
        char next = '\0';
        if (with.bytes[k] == '\\' && k + 1 < with.len) {
            next = with.bytes[k + 1];
        }
        bool digit = next >= '1' && next <= '9';
        if (digit || next == '&') {
            struct kappa_text group;
            if (regex_group(run, regex, subject, digit ? (uint32_t)(next - '0') : 0, &group)) {
                grow(text, group.bytes, group.len);
            }
            k++;
        } else {
            grow(text, with.bytes + k, 1);
            k += next == '\\';
        }
    }
}

static void replace_row(struct regex_run *run, const struct regex *regex, struct kappa_text with)
{
    struct expr_vec *out = run->out;
    uint32_t i = run->row;
    struct kappa_text subject = run->text[i];
    struct growing text = {.memory = run->memory};
    size_t done = 0;
    size_t from = 0;
    while (from <= subject.len) {
        enum found found = regex_find(run, regex, from);
        if (found == FOUND_ERROR) {
            return;
        }
        struct kappa_text all;
        if (found == FOUND_NOTHING || !regex_group(run, regex, subject, 0, &all)) {
            break;
        }
        size_t at = (size_t)(all.bytes - subject.bytes);
        if (at >= done) {
            grow(&text, subject.bytes + done, at - done);
            grow_replacement(&text, run, regex, subject, with);
            done = at + all.len;
        }
        if (text.len > LIMIT_RECORD_BYTES) {
            out->state[i] = EXPR_ERROR_LIMIT;
            return;
        }
        if (!regex->global) {
            break;
        }
        from = regex_next(run, subject, from);
    }
    if (text.bytes == NULL && done == 0) {
        out->s[i] = subject;
        return;
    }
    grow(&text, subject.bytes + done, subject.len - done);
    out->s[i] = (struct kappa_text){text.bytes == NULL ? "" : text.bytes, (uint32_t)text.len};
}

/* (text, pattern, replacement, [flags]) */
void expr_regexp_replace(const struct expr_step *step, const struct expr_frame *frame)
{
    struct regex_run run = regex_begin(step, frame);
    const struct kappa_text *with = expr_arg(step, frame, 2)->s;
    for (const struct regex *regex; (regex = regex_row(&run)) != NULL;) {
        replace_row(&run, regex, with[run.row]);
    }
}
