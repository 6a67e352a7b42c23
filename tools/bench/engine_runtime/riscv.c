/* Start-up of a RISC-V core in machine mode. */
#include <stddef.h>

#include "runtime.h"

extern uint32_t hk_bss_start[], hk_bss_end[];

enum { SYS_EXIT = 0x18, RUN_TIME_ERROR = 0x20023 };

/* The three instructions by which RISC-V tells such a call from any other breakpoint; they must not be compressed and
 * must lie in one page. */
__attribute__((noinline, aligned(16))) intptr_t hk_bench_semihost(intptr_t operation, const void *argument)
{
    register intptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n\t"
                     ".option norvc\n\t"
                     ".balign 16\n\t"
                     "slli x0, x0, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai x0, x0, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

__attribute__((used, aligned(4))) static void fault(void)
{
    hk_bench_semihost(SYS_EXIT, (const void *)RUN_TIME_ERROR);
    for (;;) {
    }
}

__attribute__((used)) static void start(void)
{
    for (volatile uint32_t *word = hk_bss_start; word < hk_bss_end; word++) {
        *word = 0;
    }
    hk_bench_clock_start();
    hk_bench_main();
    fault();
}

__attribute__((naked, used, section(".vectors"))) void hk_bench_reset(void)
{
    __asm__ volatile(".option arch, +zicsr\n\t"
                     "la sp, hk_stack_top\n\t"
                     "la t0, %0\n\t"
                     "csrw mtvec, t0\n\t"
                     "j %1"
                     :
                     : "i"(fault), "i"(start));
}
