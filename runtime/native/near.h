/* Functions of the C library that are called from many places, each by way of one jump.
 *
 * A call through the table of addresses is a byte longer than one of a function of the same file,
 * and the linker's own stubs are longer than what they save. So each has a stub here: a jump
 * through the table, six bytes. Only for GCC on x86-64; elsewhere they are called as all others.
 */
#ifndef GRADC_NEAR_H
#define GRADC_NEAR_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__ELF__)

#define GRADC_NEAR(name) \
    extern __typeof__(name) name __asm__("gradc_near_" #name) \
        __attribute__((visibility("hidden"))); \
    __asm__(".pushsection .text.gradc_near_" #name ", \"ax\"\n" \
            "gradc_near_" #name ": jmp *" #name "@GOTPCREL(%rip)\n" \
            ".popsection")

GRADC_NEAR(__errno_location);
GRADC_NEAR(calloc);
GRADC_NEAR(free);
GRADC_NEAR(memcmp);
GRADC_NEAR(strchr);
GRADC_NEAR(strlen);
GRADC_NEAR(syscall);

#endif

#endif
