/* Files that are part of the binary: the assembler takes their bytes as they are (.incbin). Whoever
 * uses it has a rule in the Makefile, by which the object depends on the files. */
#ifndef KAPPA_BASE_EMBED_H
#define KAPPA_BASE_EMBED_H

#include <stdint.h>

/* embed_SYMBOL .. embed_SYMBOL_end: the bytes of a file, and a zero behind them. */
#define EMBED(symbol, path)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".hidden embed_" #symbol "\n.global embed_" #symbol "\n"                               \
            "embed_" #symbol ":\n.incbin \"" path "\"\n"                                           \
            ".hidden embed_" #symbol "_end\n.global embed_" #symbol "_end\n"                       \
            "embed_" #symbol "_end:\n.byte 0\n.popsection\n");                                     \
    extern const uint8_t embed_##symbol[] __attribute__((visibility("hidden")));                   \
    extern const uint8_t embed_##symbol##_end[] __attribute__((visibility("hidden")));

#endif
