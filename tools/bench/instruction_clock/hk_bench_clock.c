#include "hk_bench_clock.h"

#if defined(__riscv)

/* The core counts retired instructions itself. */
const uint32_t hk_bench_tick_mask = UINT32_MAX;

void hk_bench_clock_start(void)
{
}

uint32_t hk_bench_ticks(void)
{
    uint32_t count;
    __asm__ volatile(".option push\n\t"
                     ".option arch, +zicsr\n\t"
                     "csrr %0, minstret\n\t"
                     ".option pop"
                     : "=r"(count));
    return count;
}

__attribute__((noinline)) void hk_bench_spin(uint32_t rounds)
{
    __asm__ volatile("1: addi %0, %0, -1\n\t"
                     "bnez %0, 1b"
                     : "+r"(rounds));
}

#else

/* A Cortex-M: SysTick, which counts the core's clock down. */
static volatile uint32_t *const systick_control = (volatile uint32_t *)0xE000E010;
static volatile uint32_t *const systick_reload = (volatile uint32_t *)0xE000E014;
static volatile uint32_t *const systick_value = (volatile uint32_t *)0xE000E018;

const uint32_t hk_bench_tick_mask = 0x00ffffff;

void hk_bench_clock_start(void)
{
    *systick_reload = hk_bench_tick_mask;
    *systick_value = 0;
    *systick_control = 5; /* the core's clock, no interrupt */
}

uint32_t hk_bench_ticks(void)
{
    return hk_bench_tick_mask - *systick_value;
}

__attribute__((noinline)) void hk_bench_spin(uint32_t rounds)
{
    __asm__ volatile("1: subs %0, #1\n\t"
                     "bne 1b"
                     : "+l"(rounds)
                     :
                     : "cc");
}

#endif
