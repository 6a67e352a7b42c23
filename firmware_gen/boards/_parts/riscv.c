/* One RISC-V hart in machine mode: reset, traps, the CLINT's timer for the clock, the PLIC for the serial port,
 * semihosting's trap. */
#include <stddef.h>

#include "hk_board.h"
#include "hk_parts.h"

#define MTIMECMP_LOW HK_REGISTER(HK_BOARD_CLINT_ADDRESS + 0x4000u)
#define MTIMECMP_HIGH HK_REGISTER(HK_BOARD_CLINT_ADDRESS + 0x4004u)
#define MTIME_LOW HK_REGISTER(HK_BOARD_CLINT_ADDRESS + 0xbff8u)
#define MTIME_HIGH HK_REGISTER(HK_BOARD_CLINT_ADDRESS + 0xbffcu)
#define PLIC_PRIORITY HK_REGISTER(HK_BOARD_PLIC_ADDRESS + 4u * HK_BOARD_SERIAL_IRQ)
#define PLIC_ENABLE HK_REGISTER(HK_BOARD_PLIC_ADDRESS + 0x2000u + HK_BOARD_SERIAL_IRQ / 32u * 4u)
#define PLIC_THRESHOLD HK_REGISTER(HK_BOARD_PLIC_ADDRESS + 0x200000u)
#define PLIC_CLAIM HK_REGISTER(HK_BOARD_PLIC_ADDRESS + 0x200004u)

enum {
    TICK_MS = 10,
    TICK_COUNTS = HK_BOARD_MTIME_HZ / 1000 * TICK_MS,
    MSTATUS_MIE = 1u << 3,
    MIE_TIMER = 1u << 7,
    MIE_EXTERNAL = 1u << 11,
    GUARD_BYTES = 4096,
    PMP_LOCKED_NAPOT_NO_ACCESS = 0x98,
};

extern uint8_t hk_data_load[], hk_data_start[], hk_data_end[], hk_bss_start[], hk_bss_end[], hk_stack_bottom[];

void hk_trap_table(void);
void hk_on_timer(void);
void hk_on_external(void);
_Noreturn void hk_start(void);

/* --- From reset to the application --- */

__asm__(".section .vectors, \"ax\"\n"
        ".globl hk_reset\n"
        "hk_reset:\n"
        ".option push\n"
        ".option norelax\n"
        "la gp, __global_pointer$\n"
        ".option pop\n"
        "la sp, hk_stack_top\n"
        "la t0, hk_trap_table\n"
        "ori t0, t0, 1\n" /* each interrupt has its own entry */
        "csrw mtvec, t0\n"
        "j hk_start\n"
        ".text\n");

/* The machine has memory below the stack too: without a guard a stack that overflows would spoil it unseen. */
static void guard_stack(void) {
    const uintptr_t guard = ((uintptr_t)hk_stack_bottom - GUARD_BYTES) >> 2 | (GUARD_BYTES / 8 - 1);
    __asm__ volatile("csrw pmpaddr0, %0\n"
                     "csrw pmpcfg0, %1\n"
                     :
                     : "r"(guard), "r"(PMP_LOCKED_NAPOT_NO_ACCESS));
}

__attribute__((used)) _Noreturn void hk_start(void) {
    const uint8_t *from = hk_data_load;
    for (uint8_t *to = hk_data_start; to < hk_data_end; ++to) {
        *to = *from++;
    }
    for (uint8_t *to = hk_bss_start; to < hk_bss_end; ++to) {
        *to = 0;
    }
    guard_stack();
    hk_port_run();
}

/* --- Traps --- */

/* Exceptions enter at the table's start, interrupts at four bytes times their cause. Without a debugger the trap of
 * semihosting is an exception of its own (cause 3): it then answers -1, and the board lives without the host's files.
 * Any other exception is a defect of the firmware, told from a fresh stack since the old one may be what is wrong. */
__asm__(".text\n"
        ".balign 64\n"
        ".globl hk_trap_table\n"
        "hk_trap_table:\n"
        ".option push\n"
        ".option norvc\n"
        "j hk_on_exception\n"
        ".rept 6\n"
        "j hk_on_unknown\n"
        ".endr\n"
        "j hk_on_timer\n"
        ".rept 3\n"
        "j hk_on_unknown\n"
        ".endr\n"
        "j hk_on_external\n"
        ".option pop\n"
        "hk_on_exception:\n"
        "csrr t0, mcause\n"
        "addi t0, t0, -3\n"
        "bnez t0, hk_on_unknown\n"
        "li a0, -1\n"
        "csrr t0, mepc\n"
        "addi t0, t0, 4\n"
        "csrw mepc, t0\n"
        "mret\n"
        "hk_on_unknown:\n"
        "la sp, hk_stack_top\n"
        "j hk_port_on_fault\n");

static volatile uint32_t ticks;
static uint64_t next_tick;

static void set_timer(uint64_t at) {
    MTIMECMP_HIGH = UINT32_MAX; /* not due while only half of it is written */
    MTIMECMP_LOW = (uint32_t)at;
    MTIMECMP_HIGH = (uint32_t)(at >> 32);
}

__attribute__((interrupt("machine"), used)) void hk_on_timer(void) {
    ticks = ticks + 1;
    next_tick += TICK_COUNTS;
    set_timer(next_tick);
}

__attribute__((interrupt("machine"), used)) void hk_on_external(void) {
    const uint32_t source = PLIC_CLAIM;
    if (source == HK_BOARD_SERIAL_IRQ) {
        hk_port_on_receive();
    }
    PLIC_CLAIM = source;
}

/* --- What the port asks of it --- */

static uint64_t read_time(void) {
    uint32_t high;
    uint32_t low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return (uint64_t)high << 32 | low;
}

void hk_core_start(void) {
    PLIC_PRIORITY = 1;
    PLIC_THRESHOLD = 0;
    PLIC_ENABLE = 1u << HK_BOARD_SERIAL_IRQ % 32u;
    next_tick = read_time() + TICK_COUNTS;
    set_timer(next_tick);
    __asm__ volatile("csrs mie, %0" : : "r"(MIE_TIMER | MIE_EXTERNAL));
    hk_core_unmask();
}

uint32_t hk_core_clock_ms(void) {
    return ticks * TICK_MS;
}

void hk_core_mask(void) {
    __asm__ volatile("csrc mstatus, %0" : : "r"(MSTATUS_MIE) : "memory");
}

void hk_core_unmask(void) {
    __asm__ volatile("csrs mstatus, %0" : : "r"(MSTATUS_MIE) : "memory");
}

void hk_core_sleep(void) {
    __asm__ volatile("wfi");
}

int32_t hk_core_semihost(int32_t operation, const void *argument) {
    register int32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* The debugger knows the trap by its neighbours, which do nothing; all three uncompressed and on one page. */
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     ".balign 16\n"
                     "slli x0, x0, 0x1f\n"
                     "ebreak\n"
                     "srai x0, x0, 7\n"
                     ".option pop\n"
                     : "+r"(a0)
                     : "r"(a1)
                     : "t0", "memory");
    return a0;
}
