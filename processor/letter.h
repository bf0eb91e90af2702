/* Letters by Unicode, and characters of UTF-8 text. letter.c alone includes utf8proc.
 *
 * A character is a code point. Case mappings are simple ones, a character for a character, and do
 * not depend on the language or the machine: upper('straße') is STRAßE. */
#ifndef KAPPA_PROCESSOR_LETTER_H
#define KAPPA_PROCESSOR_LETTER_H

#include "base/base.h"
#include "include/kappa/row.h"

uint32_t letter_lower(uint32_t character);
uint32_t letter_upper(uint32_t character);
/* A letter or a digit: what words are made of. */
bool letter_in_word(uint32_t character);

/* ---- Characters. Texts are well-formed UTF-8; other bytes count as characters of their own value. */

#define CHARACTER_BYTES_MAX 4

static inline bool character_begins(char byte)
{
    return ((unsigned char)byte & 0xC0) != 0x80;
}

/* The byte behind the character that begins at `at`. */
static inline uint32_t character_end(struct kappa_text text, uint32_t at)
{
    at++;
    while (at < text.len && !character_begins(text.bytes[at])) {
        at++;
    }
    return at;
}

static inline int64_t character_count(struct kappa_text text)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        count += character_begins(text.bytes[i]);
    }
    return count;
}

/* True if all characters are one byte. */
static inline bool text_is_ascii(struct kappa_text text)
{
    unsigned char any = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        any |= (unsigned char)text.bytes[i];
    }
    return any < 0x80;
}

/* True if the bytes are well-formed UTF-8 without U+0000. */
bool text_is_utf8(struct kappa_text text);
/* Byte position of character `index` (from 0); the length of the text when it has fewer. */
uint32_t character_at(struct kappa_text text, int64_t index);
/* The code point at *at, which moves behind it. */
uint32_t character_read(struct kappa_text text, uint32_t *at);
/* Writes 1 to CHARACTER_BYTES_MAX bytes; their number. */
uint32_t character_write(uint32_t character, char *out);

#endif
