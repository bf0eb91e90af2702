/* Runs a fuzz target over files without libFuzzer: `make check` replays the corpora of tests/fuzz so.
 *
 *     fuzz_X FILE...      each file whole, then every prefix of it */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX (1 << 16)

static size_t read_file(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    size_t len = fread(bytes, 1, FILE_MAX, file);
    (void)fclose(file);
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[FILE_MAX];
    for (int i = 1; i < argc; i++) {
        size_t len = read_file(argv[i], bytes);
        for (size_t end = 0; end <= len; end++) {
            uint8_t *copy = xmalloc(end + 1); /* of this size: sanitizers see a byte too far */
            for (size_t k = 0; k < end; k++) {
                copy[k] = bytes[k];
            }
            (void)LLVMFuzzerTestOneInput(copy, end);
            free(copy);
        }
    }
    (void)printf("%d files\n", argc - 1);
    return 0;
}
