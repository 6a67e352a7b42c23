/* From reset to main on the mps2-an386: the vector table, the memory that C expects, and what happens on a fault. */
#include <stddef.h>
#include <stdint.h>

#include "hk_mps2_an386.h"
#include "hk_port.h"

extern uint8_t hk_data_load[], hk_data_start[], hk_data_end[], hk_bss_start[], hk_bss_end[];
extern uint8_t hk_stack_bottom[], hk_stack_top[];

int main(int argc, char **argv);
void hk_reset(void);

static void print_stack_use(void);
static void paint_stack(void);

/* Any fault is a defect of the firmware: say so to the host and stop with an error, so that a test sees it at once. */
static void hk_fault(void) {
    hk_board_print("harken: the processor faulted");
    hk_board_exit(1);
}

enum { VECTORS = 16 + 32, IRQ_UART0_RX = 0 };

__attribute__((section(".vectors"), used)) static void (*const vectors[VECTORS])(void) = {
    [0] = (void (*)(void))hk_stack_top,
    [1] = hk_reset,
    [2] = hk_fault, /* NMI */
    [3] = hk_fault, /* hard fault */
    [4] = hk_fault, /* memory management */
    [5] = hk_fault, /* bus fault */
    [6] = hk_fault, /* usage fault */
    [15] = hk_on_systick,
    [16 + IRQ_UART0_RX] = hk_on_uart0_receive,
};

void hk_reset(void) {
    const uint8_t *from = hk_data_load;
    for (uint8_t *to = hk_data_start; to < hk_data_end; ++to) {
        *to = *from++;
    }
    for (uint8_t *to = hk_bss_start; to < hk_bss_end; ++to) {
        *to = 0;
    }
    paint_stack();
    char **argv;
    const int argc = hk_read_command_line(&argv);
    const int status = main(argc, argv);
    print_stack_use();
    hk_board_exit(status);
}

/* Every word that the stack never reaches keeps this pattern, so that print_stack_use can tell how deep it went. */
enum { STACK_PAINT = 0x5a };

static void paint_stack(void) {
    const uint8_t marker = 0;
    /* Stops well short of this function's own frame. */
    const uintptr_t end = (uintptr_t)&marker - 64u;
    for (volatile uint8_t *p = hk_stack_bottom; (uintptr_t)p < end; ++p) {
        *p = STACK_PAINT;
    }
}

static char *append_number(char *to, size_t value) {
    char digits[10];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (n > 0) {
        *to++ = digits[--n];
    }
    return to;
}

static char *append_text(char *to, const char *text) {
    while (*text != '\0') {
        *to++ = *text++;
    }
    return to;
}

/* One line on the console: what a run has taken of the stack. */
static void print_stack_use(void) {
    const uint8_t *p = hk_stack_bottom;
    while (p < hk_stack_top && *p == STACK_PAINT) {
        ++p;
    }
    char line[64];
    char *end = append_text(line, "stack: ");
    end = append_number(end, (size_t)(hk_stack_top - p));
    end = append_text(end, " of ");
    end = append_number(end, (size_t)(hk_stack_top - hk_stack_bottom));
    end = append_text(end, " bytes used");
    *end = '\0';
    hk_board_print(line);
}
