/* lower, upper, initcap. Own header: expr_step.h, functions.def. Letters by Unicode: letter.h. */
#include "processor/functions.h"
#include "processor/letter.h"

/* ASCII letters first ... first + 25 change their case. */
static struct kappa_text change_ascii(struct arena *texts, struct kappa_text text, char first)
{
    char *out = arena_alloc(texts, (size_t)text.len + 1);
    for (uint32_t k = 0; k < text.len; k++) {
        char c = text.bytes[k];
        out[k] = (char)(c >= first && c <= first + 25 ? c ^ 0x20 : c);
    }
    return (struct kappa_text){out, text.len};
}

typedef uint32_t (*letter_fn)(uint32_t character);

/* A letter of two bytes may become one of three. */
static struct kappa_text change_letters(struct arena *texts, struct kappa_text text,
                                        letter_fn change)
{
    char *out = arena_alloc(texts, (size_t)text.len * 2 + CHARACTER_BYTES_MAX);
    uint32_t len = 0;
    for (uint32_t at = 0; at < text.len;) {
        len += character_write(change(character_read(text, &at)), out + len);
    }
    return (struct kappa_text){out, len};
}

static void change_case(const struct expr_step *step, const struct expr_frame *frame, char first,
                        letter_fn change)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->s[i] = text_is_ascii(a[i]) ? change_ascii(frame->texts, a[i], first)
                                            : change_letters(frame->texts, a[i], change);
        }
    }
}

void expr_lower(const struct expr_step *step, const struct expr_frame *frame)
{
    change_case(step, frame, 'A', letter_lower);
}

void expr_upper(const struct expr_step *step, const struct expr_frame *frame)
{
    change_case(step, frame, 'a', letter_upper);
}

void expr_initcap(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        char *text = arena_alloc(frame->texts, (size_t)a[i].len * 2 + CHARACTER_BYTES_MAX);
        uint32_t len = 0;
        bool inside = false;
        for (uint32_t at = 0; at < a[i].len;) {
            uint32_t letter = character_read(a[i], &at);
            letter = inside ? letter_lower(letter) : letter_upper(letter);
            len += character_write(letter, text + len);
            inside = letter_in_word(letter);
        }
        out->s[i] = (struct kappa_text){text, len};
    }
}
