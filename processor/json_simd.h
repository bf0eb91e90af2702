/* simdjson behind a small C interface: the one file that includes it is json_simd.cc.
 *
 *     json_simd_new -> json_simd_index ... -> json_simd_free        (one thread)
 *
 * What is taken from the library is its vectorised first stage (chosen for the machine at run
 * time): one pass over the text that checks UTF-8, finds which quotes are real, refuses control
 * characters in strings and strings that do not end, and lists where every token begins. The walk
 * over these tokens is decode_json.c's: it reads only the columns in use. Measured on records of
 * 152 bytes: 31 ns for stage one, 57 ns for the walk with five columns. */
#ifndef KAPPA_PROCESSOR_JSON_SIMD_H
#define KAPPA_PROCESSOR_JSON_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_simd;

struct json_simd *json_simd_new(void);
void json_simd_free(struct json_simd *simd);

/* Finds the tokens of len bytes (KAPPA_RECORD_TAIL readable ones behind them). NULL when that
 * worked, else the library's reason. *at: positions of { } [ ] : , and of the first byte of each
 * string and scalar, ascending, *count of them, valid until the next call. Between the end of one
 * token and the next position there is only white space, except behind a scalar, which the caller
 * checks. */
const char *json_simd_index(struct json_simd *simd, const uint8_t *bytes, size_t len,
                            const uint32_t **at, uint32_t *count);

/* Are these bytes well-formed UTF-8? */
bool json_simd_utf8(const uint8_t *bytes, size_t len);

/* The correctly rounded value of the JSON number that starts here, whose grammar is known to be
 * good and which is followed by a byte that ends it. False when it is out of range. */
bool json_simd_double(const uint8_t *number, double *value);

#ifdef __cplusplus
}
#endif

#endif
