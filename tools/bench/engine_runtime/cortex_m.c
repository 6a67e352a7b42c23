/* Start-up of a Cortex-M: vector table, vector unit on. */
#include <stddef.h>

#include "runtime.h"

extern uint32_t hk_stack_top[];
extern uint32_t hk_bss_start[], hk_bss_end[];

enum { SYS_EXIT = 0x18, RUN_TIME_ERROR = 0x20023 };

static volatile uint32_t *const coprocessor_access = (volatile uint32_t *)0xE000ED88;

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
    hk_bench_clock_start();
    hk_bench_main();
    fault();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))hk_stack_top, hk_bench_reset, fault, fault, fault, fault, fault, fault,
};
