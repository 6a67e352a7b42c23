/* The STM32F405's clocks, pins and USART 1 (ST RM0090). QEMU's model of it has the USART alone: it takes what is written
 * to clocks and pins for nothing, reads zeros there, and runs at the full clock anyway. */
#include "hk_board.h"
#include "hk_parts.h"

#define FLASH_ACR HK_REGISTER(0x40023c00u)
#define RCC_CR HK_REGISTER(0x40023800u)
#define RCC_PLLCFGR HK_REGISTER(0x40023804u)
#define RCC_CFGR HK_REGISTER(0x40023808u)
#define RCC_AHB1ENR HK_REGISTER(0x40023830u)
#define RCC_APB2ENR HK_REGISTER(0x40023844u)
#define GPIOA_MODER HK_REGISTER(0x40020000u)
#define GPIOA_AFRH HK_REGISTER(0x40020024u)
#define USART_SR HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x00u)
#define USART_DR HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x04u)
#define USART_BRR HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x08u)
#define USART_CR1 HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x0cu)

enum {
    ACR_CACHES_5_WAIT_STATES = 0x705, /* what 168 MHz needs at 3.3 V */
    CR_PLL_ON = 1u << 24,
    CR_PLL_READY = 1u << 25,
    /* From the internal 16 MHz: / 16 (M) * 336 (N) / 2 (P); 48 MHz for USB (Q = 7). */
    PLL_168_MHZ = 16u | 336u << 6 | 0u << 16 | 7u << 24,
    CFGR_APB1_BY_4_APB2_BY_2 = 5u << 10 | 4u << 13,
    CFGR_USE_PLL = 2u << 0,
    AHB1_GPIOA = 1u << 0,
    APB2_USART1 = 1u << 4,
    SR_RECEIVED = 1u << 5,
    SR_SEND_EMPTY = 1u << 7,
    CR1_RECEIVE = 1u << 2,
    CR1_SEND = 1u << 3,
    CR1_RECEIVE_INTERRUPT = 1u << 5,
    CR1_ENABLE = 1u << 13,
    BAUD = 1000000,
    READY_POLLS_MAX = 100000,
};

static void start_clocks(void) {
    FLASH_ACR = ACR_CACHES_5_WAIT_STATES;
    RCC_PLLCFGR = PLL_168_MHZ;
    RCC_CR |= CR_PLL_ON;
    for (int polls = 0; polls < READY_POLLS_MAX && (RCC_CR & CR_PLL_READY) == 0; ++polls) {
    }
    RCC_CFGR = CFGR_APB1_BY_4_APB2_BY_2;
    RCC_CFGR = CFGR_APB1_BY_4_APB2_BY_2 | CFGR_USE_PLL;
}

static void start_pins(void) {
    RCC_AHB1ENR |= AHB1_GPIOA;
    GPIOA_MODER = (GPIOA_MODER & ~(0xfu << 18)) | 0xau << 18; /* PA9 and PA10 as their alternate function */
    GPIOA_AFRH = (GPIOA_AFRH & ~(0xffu << 4)) | 0x77u << 4;   /* which is number 7, USART 1 */
}

void hk_serial_start(void) {
    start_clocks();
    start_pins();
    RCC_APB2ENR |= APB2_USART1;
    USART_BRR = HK_BOARD_CORE_HZ / 2u / BAUD;
    hk_serial_allow_interrupt(true);
}

bool hk_serial_receive(uint8_t *byte) {
    if ((USART_SR & SR_RECEIVED) == 0) {
        return false;
    }
    *byte = (uint8_t)USART_DR;
    return true;
}

bool hk_serial_send(uint8_t byte) {
    if ((USART_SR & SR_SEND_EMPTY) == 0) {
        return false;
    }
    USART_DR = byte;
    return true;
}

void hk_serial_allow_interrupt(bool is_allowed) {
    USART_CR1 = CR1_ENABLE | CR1_SEND | CR1_RECEIVE | (is_allowed ? CR1_RECEIVE_INTERRUPT : 0u);
}
