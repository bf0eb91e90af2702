/* simdjson behind a small C interface. Own header: json_simd.h. Written as C would be: nothing is
 * thrown, and running out of memory ends the process. */
#include "processor/json_simd.h"

#include <simdjson.h>

#include <cstdlib>
#include <memory>
#include <new>

struct json_simd {
    std::unique_ptr<simdjson::internal::dom_parser_implementation> stages;
    size_t capacity; // longest text that fits the token list
};

/* Depth of the library's second stage, which is never run. */
static const size_t unused_depth = 1;
static const size_t first_capacity = 4096;

struct json_simd *json_simd_new(void)
{
    struct json_simd *simd = new (std::nothrow) json_simd{};
    if (simd == nullptr) {
        std::abort();
    }
    simdjson::error_code code =
        simdjson::get_active_implementation()->create_dom_parser_implementation(
            first_capacity, unused_depth, simd->stages);
    if (code != simdjson::SUCCESS) {
        std::abort();
    }
    simd->capacity = first_capacity;
    return simd;
}

void json_simd_free(struct json_simd *simd)
{
    delete simd;
}

const char *json_simd_index(struct json_simd *simd, const uint8_t *bytes, size_t len,
                            const uint32_t **at, uint32_t *count)
{
    if (len > simd->capacity) {
        size_t capacity = len + len / 2;
        if (simd->stages->set_capacity(capacity) != simdjson::SUCCESS) {
            std::abort();
        }
        simd->capacity = capacity;
    }
    simdjson::error_code code = simd->stages->stage1(bytes, len, simdjson::stage1_mode::regular);
    if (code != simdjson::SUCCESS) {
        return simdjson::error_message(code);
    }
    *at = simd->stages->structural_indexes.get();
    *count = simd->stages->n_structural_indexes;
    return nullptr;
}

bool json_simd_utf8(const uint8_t *bytes, size_t len)
{
    return simdjson::validate_utf8((const char *)bytes, len);
}

bool json_simd_double(const uint8_t *number, double *value)
{
    return simdjson::builtin::numberparsing::parse_double(number).get(*value) == simdjson::SUCCESS;
}
