/* The few words every file speaks: assertions, checked casts, sizes.
 *
 * ASSERT stays on in release builds: it marks programmer errors and ends the process with the
 * place, the expression and a trace. What the world can do wrong is returned instead (err.h). */
#ifndef KAPPA_BASE_BASE_H
#define KAPPA_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128-bit integers, for sums that cannot overflow. */
__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

#define must_check                     __attribute__((warn_unused_result))
#define printf_like(format_arg, first) __attribute__((format(printf, format_arg, first)))

#define array_len(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ASSERT(condition)                                                                          \
    ((condition) ? (void)0 : assert_failed(__FILE__, __LINE__, __func__, #condition))

/* Two integers of any kind compared; their values are printed when it fails. */
#define ASSERT_CMP(a, op, b)                                                                       \
    (((a)op(b)) ? (void)0                                                                          \
                : assert_failed_cmp(__FILE__, __LINE__, __func__, #a " " #op " " #b,               \
                                    (long long)(a), (long long)(b)))

_Noreturn void assert_failed(const char *file, int line, const char *function, const char *text);
_Noreturn void assert_failed_cmp(const char *file, int line, const char *function, const char *text,
                                 long long a, long long b);

/* Objects that travel through a void * begin with `uint32_t magic`. */
#define MAGIC_ASSERT(object, value)                                                                \
    do {                                                                                           \
        ASSERT((object) != NULL);                                                                  \
        ASSERT((object)->magic == (value));                                                        \
    } while (0)

/* Memory: these never return NULL; running out ends the process with a message. free() frees. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull, nonnull));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull, nonnull));
char *xasprintf(const char *format, ...) __attribute__((malloc, returns_nonnull)) printf_like(1, 2);
/* Whether the word stands in the list: words with commas between them, no blanks. */
bool list_has(const char *list, const char *word);

/* Checked narrowing: assert that the value fits. */
static inline uint32_t u32_from(size_t value)
{
    ASSERT(value <= UINT32_MAX);
    return (uint32_t)value;
}

static inline uint16_t u16_from(size_t value)
{
    ASSERT(value <= UINT16_MAX);
    return (uint16_t)value;
}

static inline int int_from(size_t value)
{
    ASSERT(value <= INT32_MAX);
    return (int)value;
}

static inline uint64_t u64_from_i64(int64_t value)
{
    ASSERT(value >= 0);
    return (uint64_t)value;
}

static inline int64_t i64_from(size_t value)
{
    ASSERT(value <= INT64_MAX);
    return (int64_t)value;
}

static inline int64_t i64_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t i64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Without its sign; of the least integer, too. */
static inline uint64_t i64_magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static inline uint128 i128_magnitude(int128 value)
{
    return value < 0 ? 0 - (uint128)value : (uint128)value;
}

/* The place of the highest bit that is set, from 1; of 0: 0. */
static inline uint32_t u128_bits(uint128 value)
{
    uint64_t high = (uint64_t)(value >> 64);
    uint64_t low = (uint64_t)value;
    return high != 0  ? 128 - (uint32_t)__builtin_clzll(high)
           : low != 0 ? 64 - (uint32_t)__builtin_clzll(low)
                      : 0;
}

/* 0 to 15; -1: it is none. */
static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* Fixed-width bytes, little-endian for formats on disk, big-endian for sortable keys. */
static inline uint32_t load_u32_le(const uint8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load_u64_le(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_u32_le(uint8_t *p, uint32_t v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

static inline void store_u64_le(uint8_t *p, uint64_t v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

static inline uint32_t load_u32_be(const uint8_t *p)
{
    return __builtin_bswap32(load_u32_le(p));
}

static inline void store_u32_be(uint8_t *p, uint32_t v)
{
    store_u32_le(p, __builtin_bswap32(v));
}

static inline uint64_t load_u64_be(const uint8_t *p)
{
    return __builtin_bswap64(load_u64_le(p));
}

static inline void store_u64_be(uint8_t *p, uint64_t v)
{
    store_u64_le(p, __builtin_bswap64(v));
}

static inline uint16_t load_u16_be(const uint8_t *p)
{
    return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}

static inline void store_u16_be(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Signed 64 bits <-> 8 bytes that compare as the numbers do. */
static inline void store_i64_sortable(uint8_t *p, int64_t v)
{
    store_u64_be(p, (uint64_t)v ^ (UINT64_C(1) << 63));
}

static inline int64_t load_i64_sortable(const uint8_t *p)
{
    return (int64_t)(load_u64_be(p) ^ (UINT64_C(1) << 63));
}

/* The order of keys: byte by byte; what another one begins with comes first. Below zero: a does. What has
 * no bytes may be NULL. */
static inline int bytes_order(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t least = a_len < b_len ? a_len : b_len;
    int order = least == 0 ? 0 : __builtin_memcmp(a, b, least);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats on disk are little-endian");

#endif
