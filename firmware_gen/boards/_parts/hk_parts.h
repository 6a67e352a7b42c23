/* What the parts of a board without an operating system owe each other.
 *
 * A board names in its board.toml one part of each kind, and gives in its hk_board.h the constants that they are
 * compiled with:
 *   - its core: cortex_m.c or riscv.c
 *   - its serial port, which carries the link: cmsdk_uart.c, ns16550.c, or a file of its own
 *   - semihosted_port.c: hk_port.h on top of the two, with the host's files by semihosting; and with it files.c. */
#ifndef HK_PARTS_H
#define HK_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HK_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* --- The core --- */

/* Starts the clock and lets the serial port interrupt. */
void hk_core_start(void);
/* Milliseconds since hk_core_start, in steps of 10. */
uint32_t hk_core_clock_ms(void);
/* Holds interrupts back; a short while at a time. */
void hk_core_mask(void);
void hk_core_unmask(void);
/* Sleeps until an interrupt is due, masked or not. */
void hk_core_sleep(void);
/* Asks the debugger or emulator for `operation`; its answer, -1 where nobody answers. */
int32_t hk_core_semihost(int32_t operation, const void *argument);

/* --- The serial port --- */

/* Prepares the port to send and receive; a byte that arrives interrupts the core. */
void hk_serial_start(void);
/* Takes the oldest byte received; false when there is none. */
bool hk_serial_receive(uint8_t *byte);
/* Sends a byte; false while there is no room for it. */
bool hk_serial_send(uint8_t byte);
/* Lets received bytes interrupt, or holds their sender until they may. */
void hk_serial_allow_interrupt(bool is_allowed);

/* --- Sectors of flash, where the board has any to spare --- */

/* Keeps and gives back what the device was provisioned with, where there is no file of the host for it; sector 0 or 1. A
 * board without them leaves both out: it then refuses. As settings_load and settings_save of hk_port.h. */
size_t hk_sector_load(unsigned sector, uint8_t *bytes, size_t capacity);
int hk_sector_save(unsigned sector, const uint8_t *bytes, size_t n);

/* --- The port, as its core calls it --- */

/* Takes what the serial port has received; called by its interrupt. */
void hk_port_on_receive(void);
/* Runs the application and ends with its status; called once C's memory is there. */
_Noreturn void hk_port_run(void);
/* Says on the console that the processor faulted, and ends with an error, so that a test sees it at once. */
_Noreturn void hk_port_on_fault(void);

#endif
