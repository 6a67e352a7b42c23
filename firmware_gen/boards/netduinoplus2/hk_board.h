/* The STM32F405 of the Netduino Plus 2, as stm32f405.c sets it up. */
#ifndef HK_BOARD_H
#define HK_BOARD_H

#define HK_BOARD_NAME "netduinoplus2"
#define HK_BOARD_CORE_HZ 168000000u
#define HK_BOARD_SERIAL_ADDRESS 0x40011000u /* USART 1 */
#define HK_BOARD_SERIAL_IRQ 37u

#endif
