/* What sets the mps3-an547 apart from other boards of its kind. */
#ifndef HK_BOARD_H
#define HK_BOARD_H

#define HK_BOARD_NAME "mps3-an547"
#define HK_BOARD_CORE_HZ 32000000u
#define HK_BOARD_SERIAL_ADDRESS 0x59303000u /* UART 0 */
#define HK_BOARD_SERIAL_IRQ 33u      /* its receive interrupt */

#endif
