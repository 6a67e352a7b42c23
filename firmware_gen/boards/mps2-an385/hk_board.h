/* What sets the mps2-an385 apart from other boards of its kind. */
#ifndef HK_BOARD_H
#define HK_BOARD_H

#define HK_BOARD_NAME "mps2-an385"
#define HK_BOARD_CORE_HZ 25000000u
#define HK_BOARD_SERIAL_ADDRESS 0x40004000u /* UART 0 */
#define HK_BOARD_SERIAL_IRQ 0u      /* its receive interrupt */

#endif
