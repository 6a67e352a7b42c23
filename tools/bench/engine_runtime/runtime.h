/* What the bench asks of a core. The start-up code of each kind of core, cortex_m.c and riscv.c, answers it. */
#ifndef HK_BENCH_RUNTIME_H
#define HK_BENCH_RUNTIME_H

#include <stdint.h>

#include "../instruction_clock/hk_bench_clock.h"

/* Runs after start-up, with memory as C wants it and the clock running. */
void hk_bench_main(void);

/* What the engine calls after each operator where the image is built to split a step: adds the time since the last call
 * to that of `number`. */
void hk_bench_operator_done(uint32_t number);

/* Where the caller's stack ends. */
static inline uintptr_t hk_bench_stack_pointer(void)
{
    uintptr_t value;
#if defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(value));
#else
    __asm__ volatile("mov %0, sp" : "=r"(value));
#endif
    return value;
}

/* Asks the emulator: Arm's semihosting calls, which RISC-V shares. */
intptr_t hk_bench_semihost(intptr_t operation, const void *argument);

#endif
