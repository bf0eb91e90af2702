/* gzip for answers. Own header: http_gzip.h. The one file with zlib. */
#include "serve/http_gzip.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>

#define BODY_MIN    2048 /* less is one packet anyway */
#define LEVEL       1 /* rows are alike: more effort saves little and takes the server's threads */
#define GZIP_BITS   (15 + 16)
#define MEM_LEVEL   8
#define CHUNK_LEN   65536
#define HEADER_NAME "Content-Encoding"

bool http_gzip_accepted(const char *accept)
{
    bool star = false;
    for (const char *at = accept == NULL ? "" : accept; *at != '\0';) {
        at += strspn(at, ", \t");
        size_t item = strcspn(at, ",");
        size_t name = strcspn(at, ",; \t");
        const char *q = memchr(at, '=', item);
        bool refused = q != NULL && strtod(q + 1, NULL) <= 0;
        if (name == 4 && strncasecmp(at, "gzip", name) == 0) {
            return !refused;
        }
        star = star || (name == 1 && *at == '*' && !refused);
        at += item;
    }
    return star;
}

/* Where compressed bytes go: memory, and from there to a file when they are many. */
struct pack {
    z_stream z;
    struct route_answer out;
    uint8_t chunk[CHUNK_LEN];
};

static bool pack_some(struct pack *pack, const uint8_t *bytes, size_t len, bool last)
{
    struct err none = {0};
    pack->z.next_in = (Bytef *)(uintptr_t)bytes;
    pack->z.avail_in = (uInt)len;
    do {
        pack->z.next_out = pack->chunk;
        pack->z.avail_out = CHUNK_LEN;
        if (deflate(&pack->z, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) {
            return false;
        }
        buf_append(&pack->out.body, pack->chunk, CHUNK_LEN - pack->z.avail_out);
        if (route_answer_spill(&pack->out, &none) != 0) {
            return false;
        }
    } while (pack->z.avail_out == 0);
    return true;
}

static bool pack_memory(struct pack *pack, const struct buf *body)
{
    for (size_t at = 0; at < body->len;) {
        size_t len = body->len - at < CHUNK_LEN ? body->len - at : CHUNK_LEN;
        if (!pack_some(pack, body->data + at, len, false)) {
            return false;
        }
        at += len;
    }
    return true;
}

static bool pack_file(struct pack *pack, const struct route_answer *answer)
{
    uint8_t *bytes = xmalloc(CHUNK_LEN);
    uint64_t at = 0;
    bool well = true;
    while (well && at < answer->spilled) {
        ssize_t len = pread(answer->spill, bytes, CHUNK_LEN, (off_t)at);
        well = len > 0 && pack_some(pack, bytes, (size_t)len, false);
        at += len > 0 ? (uint64_t)len : 0;
    }
    free(bytes);
    return well;
}

static bool is_packed(const struct route_answer *answer)
{
    for (uint32_t i = 0; i < answer->header_count; i++) {
        if (strcmp(answer->headers[i].name, HEADER_NAME) == 0) {
            return true;
        }
    }
    return false;
}

void http_gzip(struct route_answer *answer)
{
    bool room = answer->header_count + 2 <= ROUTE_HEADERS_MAX;
    if (answer->spilled + answer->body.len < BODY_MIN || is_packed(answer) || !room) {
        return;
    }
    struct pack *pack = xcalloc(1, sizeof *pack);
    struct err none = {0};
    route_answer_init(&pack->out, answer->status);
    bool well =
        deflateInit2(&pack->z, LEVEL, Z_DEFLATED, GZIP_BITS, MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
    if (well) {
        well = (answer->spill < 0 || pack_file(pack, answer)) && pack_memory(pack, &answer->body) &&
               pack_some(pack, NULL, 0, true);
        (void)deflateEnd(&pack->z);
    }
    if (well && pack->out.spill >= 0) {
        well = route_answer_spill_rest(&pack->out, &none) == 0;
    }
    if (well) { /* bodies change places, headers stay */
        struct route_answer plain = *answer;
        answer->body = pack->out.body;
        answer->spill = pack->out.spill;
        answer->spilled = pack->out.spilled;
        pack->out.body = plain.body;
        pack->out.spill = plain.spill;
        route_answer_header(answer, HEADER_NAME, "gzip");
        route_answer_header(answer, "Vary", "Accept-Encoding");
    }
    route_answer_free(&pack->out);
    free(pack);
}
