/* The CPU's level, from CPUID and from what the operating system saves of the registers.
 *
 * Sources: x86-64 psABI 1.0, table 3.1; Intel SDM volume 2, CPUID; volume 1, section 13.3 (XCR0).
 */
#include "cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdbool.h>

#define FMA (1u << 12) /* leaf 1, ECX */
#define MOVBE (1u << 22)
#define OSXSAVE (1u << 27)
#define AVX (1u << 28)
#define F16C (1u << 29)
#define LZCNT (1u << 5) /* leaf 0x80000001, ECX: where it lacks, it runs as another instruction */
#define BMI1 (1u << 3) /* leaf 7, EBX */
#define AVX2 (1u << 5)
#define BMI2 (1u << 8)
#define AVX512 (1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31) /* F, DQ, CD, BW, VL */
#define YMM_STATE 0x06u
#define ZMM_STATE 0xE6u

static bool has(unsigned word, unsigned bits) {
    return !(~word & bits);
}

int gradc_cpu_level(void) {
    unsigned a, b, c, d, xcr0, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, FMA | MOVBE | OSXSAVE | AVX | F16C)) {
        return 1;
    }
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !has(c, LZCNT)) {
        return 1;
    }
    __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 1;
    }
    if (!has(xcr0, YMM_STATE) || !has(b, BMI1 | AVX2 | BMI2)) {
        return 1;
    }
    return has(xcr0, ZMM_STATE) && has(b, AVX512) ? 4 : 3;
}

#else

int gradc_cpu_level(void) {
    return 0;
}

#endif
