/* Runs an engine over inputs linked into the image, on QEMU's mps2-an386, and writes the outputs, the instructions per
 * step and the stack it used to files by Arm semihosting. With `-icount shift=0` QEMU's clock advances 1 ns an
 * instruction, and SysTick counts it at 25 MHz: one tick is 40 instructions. */
#include <stdint.h>
#include <string.h>

#include "hk_engine.h"

extern const int8_t hk_test_inputs[];
extern const uint32_t hk_test_steps;
extern uint8_t hk_test_outputs[];

extern uint32_t hk_stack_top;
extern uint32_t hk_stack_bottom;
extern uint32_t hk_data_load, hk_data_start, hk_data_end, hk_bss_start, hk_bss_end;

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_EXIT = 0x18, MODE_WB = 5 };
enum { APPLICATION_EXIT = 0x20026, INSTRUCTIONS_PER_TICK = 40 };

static volatile uint32_t *const systick_control = (volatile uint32_t *)0xE000E010;
static volatile uint32_t *const systick_reload = (volatile uint32_t *)0xE000E014;
static volatile uint32_t *const systick_value = (volatile uint32_t *)0xE000E018;

static hk_engine_t engine;

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void write_file(const char *name, const void *bytes, uint32_t count)
{
    const uint32_t open[3] = {(uint32_t)(uintptr_t)name, MODE_WB, (uint32_t)strlen(name)};
    const int handle = semihost(SYS_OPEN, open);
    const uint32_t write[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)bytes, count};
    semihost(SYS_WRITE, write);
    semihost(SYS_CLOSE, &handle);
}

static uint32_t ticks(void)
{
    return 0x00ffffff - *systick_value;
}

__attribute__((noinline)) static uint32_t run(void)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < hk_test_steps; i++) {
        int8_t *out = (int8_t *)hk_test_outputs + i * HK_ENGINE_OUTPUT_BYTES;
        const uint32_t before = ticks();
        hk_engine_step(&engine, hk_test_inputs + i * HK_ENGINE_INPUT_BYTES, out);
        total += (ticks() - before) & 0x00ffffff;
    }
    return total;
}

void hk_reset_handler(void)
{
    memcpy(&hk_data_start, &hk_data_load, (size_t)((uintptr_t)&hk_data_end - (uintptr_t)&hk_data_start));
    memset(&hk_bss_start, 0, (size_t)((uintptr_t)&hk_bss_end - (uintptr_t)&hk_bss_start));
    for (uint32_t *word = &hk_stack_bottom; word < (uint32_t *)__builtin_frame_address(0) - 64; word++) {
        *word = 0xa5a5a5a5;
    }
    *systick_reload = 0x00ffffff;
    *systick_value = 0;
    *systick_control = 5; /* the core's clock, no interrupt */
    hk_engine_reset(&engine);
    const uint32_t total = run();
    const uint32_t *deepest = &hk_stack_bottom;
    while (*deepest == 0xa5a5a5a5) {
        deepest++;
    }
    const uint32_t figures[2] = {
        (uint32_t)((uint64_t)total * INSTRUCTIONS_PER_TICK / hk_test_steps),
        (uint32_t)((uintptr_t)__builtin_frame_address(0) - (uintptr_t)deepest),
    };
    write_file("figures.bin", figures, sizeof figures);
    write_file("outputs.bin", hk_test_outputs, hk_test_steps * HK_ENGINE_OUTPUT_BYTES);
    semihost(SYS_EXIT, (const void *)APPLICATION_EXIT);
    for (;;) {
    }
}

static void fault(void)
{
    semihost(SYS_EXIT, (const void *)0x20023);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&hk_stack_top, hk_reset_handler, fault, fault, fault, fault, fault,
};
