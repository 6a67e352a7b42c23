/* The mps2-an386's port: a CMSDK UART for the link, SysTick for the clock, Arm semihosting for the host's files.
 *
 * The microphone is a file on the host that grows while the test plays sound into it: QEMU's UART takes about 25 kB/s,
 * less than PCM needs in real time, while semihosting reads megabytes per second. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "hk_error.h"
#include "hk_mps2_an386.h"
#include "hk_port.h"

/* --- Registers (Arm DDI 0479 for the CMSDK UART, Armv7-M ARM for the rest) --- */

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART0_DATA REGISTER(0x40004000u)
#define UART0_STATE REGISTER(0x40004004u)
#define UART0_CTRL REGISTER(0x40004008u)
#define UART0_INTSTATUS REGISTER(0x4000400cu)
#define UART0_BAUDDIV REGISTER(0x40004010u)
#define SYSTICK_CTRL REGISTER(0xe000e010u)
#define SYSTICK_LOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)
#define NVIC_ENABLE REGISTER(0xe000e100u)

enum {
    STATE_TX_FULL = 1u << 0,
    STATE_RX_FULL = 1u << 1,
    STATE_RX_OVERRUN = 1u << 3,
    CTRL_TX_ENABLE = 1u << 0,
    CTRL_RX_ENABLE = 1u << 1,
    CTRL_RX_INTERRUPT = 1u << 3,
    INTERRUPT_RX = 1u << 1,
    NVIC_UART0_RX = 1u << 0,
    SYSTICK_RUN = 7, /* core clock, interrupt, enabled */
    CORE_HZ = 25000000,
    TICK_MS = 10,
};

/* --- Clock --- */

static volatile uint32_t ticks;

void hk_on_systick(void) {
    ticks = ticks + 1;
}

static uint32_t clock_ms(void *context) {
    (void)context;
    return ticks * TICK_MS;
}

/* --- Link: receive by interrupt into a ring, one writer (the handler) and one reader (the main loop) --- */

enum { RING_BYTES = 512 };
_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "indices wrap by masking");

static uint8_t ring[RING_BYTES];
static volatile uint32_t ring_written;
static volatile uint32_t ring_read;

void hk_on_uart0_receive(void) {
    UART0_INTSTATUS = INTERRUPT_RX;
    while ((UART0_STATE & STATE_RX_FULL) != 0) {
        if (ring_written - ring_read == RING_BYTES) {
            /* Leave the byte where it is: the sender is held until the main loop has made room. */
            UART0_CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
            return;
        }
        ring[ring_written & (RING_BYTES - 1)] = (uint8_t)UART0_DATA;
        ring_written = ring_written + 1;
    }
}

static size_t link_read(void *context, uint8_t *bytes, size_t capacity) {
    (void)context;
    size_t n = 0;
    while (n < capacity && ring_read != ring_written) {
        bytes[n++] = ring[ring_read & (RING_BYTES - 1)];
        ring_read = ring_read + 1;
    }
    if ((UART0_CTRL & CTRL_RX_INTERRUPT) == 0) {
        UART0_CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE | CTRL_RX_INTERRUPT;
        __asm__ volatile("cpsid i");
        hk_on_uart0_receive(); /* what waited did so without an interrupt of its own */
        __asm__ volatile("cpsie i");
    }
    return n;
}

static size_t link_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    size_t written = 0;
    while (written < n && (UART0_STATE & STATE_TX_FULL) == 0) {
        UART0_DATA = bytes[written++];
    }
    return written;
}

/* --- Semihosting (Arm "Semihosting for AArch32 and AArch64", 2.0) --- */

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
    OPEN_RB = 1,
    OPEN_WB = 5,
    ADP_STOPPED_APPLICATION_EXIT = 0x20026,
};

static int32_t semihost(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int hk_board_file_open(const char *path, hk_board_file_mode_t mode) {
    const uintptr_t block[3] = {(uintptr_t)path, mode == HK_BOARD_FILE_READ ? OPEN_RB : OPEN_WB, strlen(path)};
    return (int)semihost(SYS_OPEN, block);
}

size_t hk_board_file_read(int handle, void *bytes, size_t n) {
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)bytes, n};
    const int32_t left = semihost(SYS_READ, block); /* the bytes that were NOT read; -1 on an error */
    return left < 0 || (size_t)left > n ? 0 : n - (size_t)left;
}

int hk_board_file_write(int handle, const void *bytes, size_t n) {
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)bytes, n};
    return semihost(SYS_WRITE, block) == 0 ? 0 : -1;
}

void hk_board_file_close(int handle) {
    const uintptr_t block[1] = {(uintptr_t)handle};
    (void)semihost(SYS_CLOSE, block);
}

void hk_board_print(const char *line) {
    (void)semihost(SYS_WRITE0, line);
    (void)semihost(SYS_WRITE0, "\n");
}

_Noreturn void hk_board_exit(int status) {
    const uintptr_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)status};
    (void)semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
        hk_board_wait(); /* only where nobody answers the exit: a board without a debugger */
    }
}

void hk_board_wait(void) {
    /* A byte that arrives between the check and the wait would sleep until the next tick without the mask. */
    __asm__ volatile("cpsid i");
    if (ring_read == ring_written) {
        __asm__ volatile("wfi");
    }
    __asm__ volatile("cpsie i");
}

/* --- Command line: what QEMU was given as -semihosting-config arg=… --- */

enum { COMMAND_LINE_BYTES = 256, ARGUMENTS_MAX = 8 };

static char command_line[COMMAND_LINE_BYTES];
static char *arguments[ARGUMENTS_MAX + 1];

int hk_read_command_line(char ***argv) {
    const uintptr_t block[2] = {(uintptr_t)command_line, COMMAND_LINE_BYTES};
    *argv = arguments;
    if (semihost(SYS_GET_CMDLINE, block) != 0) {
        return 0;
    }
    int argument_count = 0;
    bool is_between = true;
    for (char *c = command_line; *c != '\0'; ++c) {
        if (*c == ' ') {
            *c = '\0';
            is_between = true;
        } else if (is_between) {
            is_between = false;
            if (argument_count == ARGUMENTS_MAX) {
                hk_board_print("harken: too many arguments; see -semihosting-config");
                hk_board_exit(2);
            }
            arguments[argument_count++] = c;
        }
    }
    return argument_count;
}

/* --- Microphone and settings --- */

static int microphone = -1;
static const char *settings_path;

static size_t microphone_read(void *context, int16_t *pcm, size_t n) {
    (void)context;
    static uint8_t odd_byte;
    static size_t held;
    if (microphone < 0 || n == 0) {
        return 0;
    }
    /* The file grows while it is read, so a read may end in the middle of a sample: the byte waits for its other half. */
    uint8_t *bytes = (uint8_t *)pcm;
    bytes[0] = odd_byte;
    const size_t total = held + hk_board_file_read(microphone, bytes + held, n * sizeof *pcm - held);
    held = total & 1u;
    if (held != 0) {
        odd_byte = bytes[total - 1];
    }
    return total / sizeof *pcm;
}

static size_t settings_load(void *context, uint8_t *bytes, size_t capacity) {
    (void)context;
    if (settings_path == NULL) {
        return 0;
    }
    const int file = hk_board_file_open(settings_path, HK_BOARD_FILE_READ);
    if (file < 0) {
        return 0; /* never saved */
    }
    const size_t n = hk_board_file_read(file, bytes, capacity);
    hk_board_file_close(file);
    return n;
}

static int settings_save(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    if (settings_path == NULL) {
        return 0; /* a board that was given no file keeps its settings only while it runs */
    }
    const int file = hk_board_file_open(settings_path, HK_BOARD_FILE_WRITE);
    if (file < 0) {
        return HK_ERROR_TRANSPORT;
    }
    const int status = hk_board_file_write(file, bytes, n);
    hk_board_file_close(file);
    return status == 0 ? 0 : HK_ERROR_TRANSPORT;
}

static const hk_port_t port = {
    .board = "mps2-an386",
    .clock_ms = clock_ms,
    .link_read = link_read,
    .link_write = link_write,
    .microphone_read = microphone_read,
    .settings_load = settings_load,
    .settings_save = settings_save,
    .context = NULL,
};

const hk_port_t *hk_board_start(int argc, char **argv) {
    UART0_BAUDDIV = 16; /* the fastest the UART allows */
    UART0_CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE | CTRL_RX_INTERRUPT;
    NVIC_ENABLE = NVIC_UART0_RX;
    SYSTICK_LOAD = CORE_HZ / 1000 * TICK_MS - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CTRL = SYSTICK_RUN;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--microphone") == 0) {
            microphone = hk_board_file_open(argv[i + 1], HK_BOARD_FILE_READ);
            if (microphone < 0) {
                hk_board_print("harken: cannot open the microphone's file");
                hk_board_exit(2);
            }
        } else if (strcmp(argv[i], "--settings") == 0) {
            settings_path = argv[i + 1];
        } else {
            hk_board_print("harken: usage: device [--microphone FILE] [--settings FILE]");
            hk_board_exit(2);
        }
    }
    return &port;
}
