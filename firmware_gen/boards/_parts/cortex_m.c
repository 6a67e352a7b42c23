/* An Arm Cortex-M (Armv7-M, Armv8-M): vector table, reset, faults, SysTick for the clock, semihosting's trap. */
#include <stddef.h>

#include "hk_board.h"
#include "hk_parts.h"

#define SYSTICK_CTRL HK_REGISTER(0xe000e010u)
#define SYSTICK_LOAD HK_REGISTER(0xe000e014u)
#define SYSTICK_VALUE HK_REGISTER(0xe000e018u)
#define MPU_CTRL HK_REGISTER(0xe000ed94u)
#define MPU_RNR HK_REGISTER(0xe000ed98u)
#define MPU_RBAR HK_REGISTER(0xe000ed9cu)
#define MPU_RASR HK_REGISTER(0xe000eda0u)
#define NVIC_ENABLE HK_REGISTER(0xe000e100u + HK_BOARD_SERIAL_IRQ / 32u * 4u)

enum {
    SYSTICK_RUN = 7, /* core clock, interrupt, enabled */
    TICK_MS = 10,
    BKPT_SEMIHOST = 0xbeab,
    MPU_ON_BESIDE_DEFAULT_MAP = 5,
    MPU_NO_ACCESS_64_KIB = 1 << 28 | 15 << 1 | 1, /* never executed, no access, 2^(15 + 1) bytes, enabled */
    GUARD_BYTES = 1 << 16,
    FRAME_R0 = 0, /* words of what an exception has pushed */
    FRAME_PC = 6,
};

extern uint8_t hk_data_load[], hk_data_start[], hk_data_end[], hk_bss_start[], hk_bss_end[];
extern uint8_t hk_text_start[], hk_text_end[], hk_stack_bottom[], hk_stack_top[];

void hk_reset(void);
_Noreturn void hk_start(void);
void hk_take_hard_fault(uint32_t *frame);

/* --- Interrupts --- */

static volatile uint32_t ticks;

static void on_systick(void) {
    ticks = ticks + 1;
}

/* From a fresh stack, since the old one may be what is wrong. */
__attribute__((naked)) static void on_fault(void) {
    __asm__ volatile("ldr r0, =hk_stack_top\n"
                     "msr msp, r0\n"
                     "b hk_port_on_fault\n");
}

/* Without a debugger the trap of semihosting faults: it then answers -1, and the board lives without the host's files.
 * Any other fault is a defect of the firmware. */
__attribute__((used)) void hk_take_hard_fault(uint32_t *frame) {
    const uintptr_t at = frame[FRAME_PC];
    if (at < (uintptr_t)hk_text_start || at >= (uintptr_t)hk_text_end || *(const uint16_t *)at != BKPT_SEMIHOST) {
        on_fault();
    }
    frame[FRAME_R0] = UINT32_MAX;
    frame[FRAME_PC] += sizeof(uint16_t);
}

/* A stack that has overflowed holds no frame to look at. */
__attribute__((naked)) static void on_hard_fault(void) {
    __asm__ volatile("mrs r0, msp\n"
                     "ldr r1, =hk_stack_bottom + 64\n"
                     "cmp r0, r1\n"
                     "bhs hk_take_hard_fault\n"
                     "b %0\n"
                     :
                     : "i"(on_fault));
}

enum { VECTORS = 16 + HK_BOARD_SERIAL_IRQ + 1 };

__attribute__((section(".vectors"), used)) static void (*const vectors[VECTORS])(void) = {
    [0] = (void (*)(void))hk_stack_top,
    [1] = hk_reset,
    [2] = on_fault, /* NMI */
    [3] = on_hard_fault,
    [4] = on_fault, /* memory management */
    [5] = on_fault, /* bus fault */
    [6] = on_fault, /* usage fault */
    [7] = on_fault, /* secure fault */
    [15] = on_systick,
    [16 + HK_BOARD_SERIAL_IRQ] = hk_port_on_receive,
};

/* --- From reset to the application --- */

__attribute__((naked)) void hk_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* Before any compiled code, which may use the vector registers that CPACR still forbids. */
    __asm__ volatile("ldr r0, =0xe000ed88\n"
                     "ldr r1, [r0]\n"
                     "orr r1, r1, #0xf00000\n"
                     "str r1, [r0]\n"
                     "dsb\n"
                     "isb\n");
#endif
    __asm__ volatile("b hk_start\n");
}

/* What lies below the stack, and so below RAM, need not fault of itself: some boards read zeros there. Armv8-M has
 * other registers for it, and its boards here fault. */
static void guard_stack(void) {
#if __ARM_ARCH == 7
    MPU_RNR = 0;
    MPU_RBAR = ((uintptr_t)hk_stack_bottom - GUARD_BYTES) & ~(uintptr_t)(GUARD_BYTES - 1);
    MPU_RASR = MPU_NO_ACCESS_64_KIB;
    MPU_CTRL = MPU_ON_BESIDE_DEFAULT_MAP;
#endif
}

__attribute__((used)) _Noreturn void hk_start(void) {
    guard_stack();
    const uint8_t *from = hk_data_load;
    for (uint8_t *to = hk_data_start; to < hk_data_end; ++to) {
        *to = *from++;
    }
    for (uint8_t *to = hk_bss_start; to < hk_bss_end; ++to) {
        *to = 0;
    }
    hk_port_run();
}

/* --- What the port asks of it --- */

void hk_core_start(void) {
    NVIC_ENABLE = 1u << HK_BOARD_SERIAL_IRQ % 32u;
    SYSTICK_LOAD = HK_BOARD_CORE_HZ / 1000u * TICK_MS - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CTRL = SYSTICK_RUN;
}

uint32_t hk_core_clock_ms(void) {
    return ticks * TICK_MS;
}

void hk_core_mask(void) {
    __asm__ volatile("cpsid i" ::: "memory");
}

void hk_core_unmask(void) {
    __asm__ volatile("cpsie i" ::: "memory");
}

void hk_core_sleep(void) {
    __asm__ volatile("wfi");
}

int32_t hk_core_semihost(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
