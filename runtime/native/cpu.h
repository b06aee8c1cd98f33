/* What the CPU that runs this can do. */
#ifndef GRADC_CPU_H
#define GRADC_CPU_H

/* Levels of the x86-64 psABI that code is made for: 4 with AVX-512 (F, BW, CD, DQ, VL), 3 with AVX2,
 * FMA and BMI, 1 below that. Other architectures: 0, and code for them needs level 0. */
int gradc_cpu_level(void);

#endif
