/* What sets the mps2-an505 apart from other boards of its kind. */
#ifndef HK_BOARD_H
#define HK_BOARD_H

#define HK_BOARD_NAME "mps2-an505"
#define HK_BOARD_CORE_HZ 20000000u
#define HK_BOARD_SERIAL_ADDRESS 0x50200000u /* UART 0 */
#define HK_BOARD_SERIAL_IRQ 32u      /* its receive interrupt */

#endif
