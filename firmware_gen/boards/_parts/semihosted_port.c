/* hk_port.h on a core and a serial port: the link on the serial port, the host's files by semihosting.
 *
 * The microphone is a file on the host that grows while the test plays sound into it: QEMU's serial ports take less
 * than PCM needs in real time (the CMSDK UART about 25 kB/s), while semihosting reads megabytes per second. A board
 * whose semihosting nobody answers hears PCM on the link. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "hk_board.h"
#include "hk_error.h"
#include "hk_files.h"
#include "hk_flash.h"
#include "hk_parts.h"
#include "hk_port.h"

/* --- Clock and link: receive by interrupt into a ring, one writer (the handler) and one reader (the main loop) --- */

static uint32_t clock_ms(void *context) {
    (void)context;
    return hk_core_clock_ms();
}

enum { RING_BYTES = 512 };
_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "indices wrap by masking");

static uint8_t ring[RING_BYTES];
static volatile uint32_t ring_written;
static volatile uint32_t ring_read;
static volatile bool is_sender_held;

void hk_port_on_receive(void) {
    for (;;) {
        if (ring_written - ring_read == RING_BYTES) {
            /* Leave the byte where it is: the sender is held until the main loop has made room. */
            is_sender_held = true;
            hk_serial_allow_interrupt(false);
            return;
        }
        uint8_t byte;
        if (!hk_serial_receive(&byte)) {
            return;
        }
        ring[ring_written & (RING_BYTES - 1)] = byte;
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
    if (is_sender_held) {
        hk_core_mask();
        is_sender_held = false;
        hk_serial_allow_interrupt(true);
        hk_port_on_receive(); /* what waited did so without an interrupt of its own */
        hk_core_unmask();
    }
    return n;
}

static size_t link_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    size_t written = 0;
    while (written < n && hk_serial_send(bytes[written])) {
        ++written;
    }
    return written;
}

/* --- Semihosting (Arm "Semihosting for AArch32 and AArch64", 2.0; RISC-V takes over its operations) --- */

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

int hk_board_file_open(const char *path, hk_board_file_mode_t mode) {
    const uintptr_t block[3] = {(uintptr_t)path, mode == HK_BOARD_FILE_READ ? OPEN_RB : OPEN_WB, strlen(path)};
    return (int)hk_core_semihost(SYS_OPEN, block);
}

size_t hk_board_file_read(int handle, void *bytes, size_t n) {
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)bytes, n};
    const int32_t left = hk_core_semihost(SYS_READ, block); /* the bytes that were NOT read; -1 on an error */
    return left < 0 || (size_t)left > n ? 0 : n - (size_t)left;
}

int hk_board_file_write(int handle, const void *bytes, size_t n) {
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)bytes, n};
    return hk_core_semihost(SYS_WRITE, block) == 0 ? 0 : -1;
}

void hk_board_file_close(int handle) {
    const uintptr_t block[1] = {(uintptr_t)handle};
    (void)hk_core_semihost(SYS_CLOSE, block);
}

void hk_board_print(const char *line) {
    (void)hk_core_semihost(SYS_WRITE0, line);
    (void)hk_core_semihost(SYS_WRITE0, "\n");
}

_Noreturn void hk_board_exit(int status) {
    const uintptr_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)status};
    (void)hk_core_semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
        hk_board_wait(); /* only where nobody answers the exit: a board without a debugger */
    }
}

void hk_board_wait(void) {
    /* A byte that arrives between the check and the wait would sleep until the next tick without the mask. */
    hk_core_mask();
    if (ring_read == ring_written) {
        hk_core_sleep();
    }
    hk_core_unmask();
}

/* --- Command line: what QEMU was given as -semihosting-config arg=… --- */

enum { COMMAND_LINE_BYTES = 256, ARGUMENTS_MAX = 8 };

static char command_line[COMMAND_LINE_BYTES];
static char *arguments[ARGUMENTS_MAX + 1];

/* Splits the command line at its spaces, the program's name first; returns how many arguments there are. No argument
 * can hold a space. */
static int read_command_line(char ***argv) {
    const uintptr_t block[2] = {(uintptr_t)command_line, COMMAND_LINE_BYTES};
    *argv = arguments;
    if (hk_core_semihost(SYS_GET_CMDLINE, block) != 0) {
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

/* --- What is kept over a restart: the host's files, else sectors of flash for what was provisioned --- */

__attribute__((weak)) size_t hk_sector_load(unsigned sector, uint8_t *bytes, size_t capacity) {
    (void)sector;
    (void)bytes;
    (void)capacity;
    return 0;
}

__attribute__((weak)) int hk_sector_save(unsigned sector, const uint8_t *bytes, size_t n) {
    (void)sector;
    (void)bytes;
    (void)n;
    return HK_ERROR_REFUSED;
}

static bool is_in_sector(hk_port_record_t record) {
    return !hk_files_keeps_settings() && (record == HK_PORT_VAULT_0 || record == HK_PORT_VAULT_1);
}

static size_t settings_load(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity) {
    return is_in_sector(record) ? hk_sector_load(record == HK_PORT_VAULT_1, bytes, capacity)
                                : hk_files_settings_load(context, record, bytes, capacity);
}

static int settings_save(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n) {
    return is_in_sector(record) ? hk_sector_save(record == HK_PORT_VAULT_1, bytes, n)
                                : hk_files_settings_save(context, record, bytes, n);
}

/* --- Start --- */

static const hk_port_t port = {
    .board = HK_BOARD_NAME,
    .clock_ms = clock_ms,
    .link_read = link_read,
    .link_write = link_write,
    .microphone_read = hk_files_microphone_read,
    .settings_load = settings_load,
    .settings_save = settings_save,
    .update_areas = hk_flash_update_areas,
    .update_erase = hk_flash_update_erase,
    .update_write = hk_flash_update_write,
    .media_areas = hk_flash_media_areas,
    .media_erase = hk_flash_media_erase,
    .media_write = hk_flash_media_write,
    .context = NULL,
};

const hk_port_t *hk_board_start(int argc, char **argv) {
    hk_serial_start();
    hk_core_start();
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--microphone") == 0) {
            if (hk_files_hear(argv[i + 1]) != 0) {
                hk_board_print("harken: cannot open the microphone's file");
                hk_board_exit(2);
            }
        } else if (strcmp(argv[i], "--settings") == 0) {
            hk_files_keep_settings(argv[i + 1]);
            hk_flash_load();
        } else {
            hk_board_print("harken: usage: device [--microphone FILE] [--settings FILE]");
            hk_board_exit(2);
        }
    }
    return &port;
}

/* --- Run, and what a run has taken of the stack --- */

extern uint8_t hk_stack_bottom[], hk_stack_top[];

int main(int argc, char **argv);

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

/* One line on the console. */
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

_Noreturn void hk_port_run(void) {
    paint_stack();
    char **argv;
    const int argc = read_command_line(&argv);
    const int status = main(argc, argv);
    print_stack_use();
    hk_board_exit(status);
}

_Noreturn void hk_port_on_fault(void) {
    hk_board_print("harken: the processor faulted");
    hk_board_exit(1);
}
