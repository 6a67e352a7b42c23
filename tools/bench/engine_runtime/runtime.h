/* What the bench asks of a core. The start-up code of each kind of core, cortex_m.c and riscv.c, answers it. */
#ifndef HK_BENCH_RUNTIME_H
#define HK_BENCH_RUNTIME_H

#include <stdint.h>

/* Runs after start-up, with memory as C wants it. */
void hk_bench_main(void);

/* Time since some start, in a unit of the core's own; only the bits of the mask count. */
uint32_t hk_bench_ticks(void);
extern const uint32_t hk_bench_tick_mask;

/* What the engine calls after each operator where the image is built to split a step: adds the time since the last call
 * to that of `number`. */
void hk_bench_operator_done(uint32_t number);

/* Exactly 2 * `rounds` instructions, and a few around them. */
void hk_bench_spin(uint32_t rounds);

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
