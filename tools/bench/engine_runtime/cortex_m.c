/* Start-up of a Cortex-M: vector table, vector unit on, SysTick counting the core's clock. */
#include <stddef.h>

#include "runtime.h"

extern uint32_t hk_stack_top[];
extern uint32_t hk_bss_start[], hk_bss_end[];

enum { SYS_EXIT = 0x18, RUN_TIME_ERROR = 0x20023 };

static volatile uint32_t *const systick_control = (volatile uint32_t *)0xE000E010;
static volatile uint32_t *const systick_reload = (volatile uint32_t *)0xE000E014;
static volatile uint32_t *const systick_value = (volatile uint32_t *)0xE000E018;
static volatile uint32_t *const coprocessor_access = (volatile uint32_t *)0xE000ED88;

const uint32_t hk_bench_tick_mask = 0x00ffffff;

uint32_t hk_bench_ticks(void)
{
    return 0x00ffffff - *systick_value;
}

__attribute__((noinline)) void hk_bench_spin(uint32_t rounds)
{
    __asm__ volatile("1: subs %0, #1\n\t"
                     "bne 1b"
                     : "+l"(rounds)
                     :
                     : "cc");
}

__attribute__((noinline)) intptr_t hk_bench_semihost(intptr_t operation, const void *argument)
{
    register intptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void fault(void)
{
    hk_bench_semihost(SYS_EXIT, (const void *)RUN_TIME_ERROR);
    for (;;) {
    }
}

void hk_bench_reset(void)
{
    *coprocessor_access |= UINT32_C(0xf) << 20; /* where there is no such unit, the bits stay 0 */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (volatile uint32_t *word = hk_bss_start; word < hk_bss_end; word++) {
        *word = 0;
    }
    *systick_reload = 0x00ffffff;
    *systick_value = 0;
    *systick_control = 5; /* the core's clock, no interrupt */
    hk_bench_main();
    fault();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))hk_stack_top, hk_bench_reset, fault, fault, fault, fault, fault, fault,
};
