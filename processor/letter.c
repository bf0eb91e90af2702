/* Letters by Unicode, and characters of UTF-8. Own header: letter.h. The only file that includes utf8proc. */
#include "processor/letter.h"

#include <utf8proc.h>

uint32_t letter_lower(uint32_t character)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)character);
}

uint32_t letter_upper(uint32_t character)
{
    const uint32_t sharp_s =
        0xDF; /* utf8proc makes a letter of it that Unicode's simple mapping does not */
    return character == sharp_s ? sharp_s : (uint32_t)utf8proc_toupper((utf8proc_int32_t)character);
}

bool letter_in_word(uint32_t character)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)character);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL;
}

uint32_t character_at(struct kappa_text text, int64_t index)
{
    if (index <= 0) {
        return 0;
    }
    if (index >= text.len) {
        return text.len;
    }
    uint32_t i = 0;
    int64_t seen = 0;
    for (; i < text.len; i++) {
        if (character_begins(text.bytes[i]) && seen++ == index) {
            break;
        }
    }
    return i;
}

uint32_t character_read(struct kappa_text text, uint32_t *at)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes + *at;
    uint32_t end = character_end(text, *at);
    uint32_t len = end - *at;
    *at = end;
    if (len == 2) {
        return (uint32_t)(bytes[0] & 0x1F) << 6 | (bytes[1] & 0x3F);
    }
    if (len == 3) {
        return (uint32_t)(bytes[0] & 0x0F) << 12 | (uint32_t)(bytes[1] & 0x3F) << 6 |
               (bytes[2] & 0x3F);
    }
    if (len == 4) {
        return (uint32_t)(bytes[0] & 0x07) << 18 | (uint32_t)(bytes[1] & 0x3F) << 12 |
               (uint32_t)(bytes[2] & 0x3F) << 6 | (bytes[3] & 0x3F);
    }
    return bytes[0];
}

uint32_t character_write(uint32_t character, char *out)
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (char)(0xC0 | character >> 6);
        out[1] = (char)(0x80 | (character & 0x3F));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (char)(0xE0 | character >> 12);
        out[1] = (char)(0x80 | (character >> 6 & 0x3F));
        out[2] = (char)(0x80 | (character & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | character >> 18);
    out[1] = (char)(0x80 | (character >> 12 & 0x3F));
    out[2] = (char)(0x80 | (character >> 6 & 0x3F));
    out[3] = (char)(0x80 | (character & 0x3F));
    return 4;
}

bool text_is_utf8(struct kappa_text text)
{
    for (size_t at = 0; at < text.len;) {
        utf8proc_int32_t character;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)text.bytes + at,
                                                (utf8proc_ssize_t)(text.len - at), &character);
        if (len <= 0 || character == 0) {
            return false;
        }
        at += (size_t)len;
    }
    return true;
}
