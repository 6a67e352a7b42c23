/* The CMSDK UART of Arm's MPS boards (Arm DDI 0479). */
#include "hk_board.h"
#include "hk_parts.h"

#define DATA HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x00u)
#define STATE HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x04u)
#define CTRL HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x08u)
#define INTSTATUS HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x0cu)
#define BAUDDIV HK_REGISTER(HK_BOARD_SERIAL_ADDRESS + 0x10u)

enum {
    STATE_TX_FULL = 1u << 0,
    STATE_RX_FULL = 1u << 1,
    CTRL_TX_ENABLE = 1u << 0,
    CTRL_RX_ENABLE = 1u << 1,
    CTRL_RX_INTERRUPT = 1u << 3,
    INTERRUPT_RX = 1u << 1,
    FASTEST_BAUDDIV = 16,
};

void hk_serial_start(void) {
    BAUDDIV = FASTEST_BAUDDIV;
    hk_serial_allow_interrupt(true);
}

bool hk_serial_receive(uint8_t *byte) {
    if ((STATE & STATE_RX_FULL) == 0) {
        return false;
    }
    INTSTATUS = INTERRUPT_RX; /* before the read: the byte after this one interrupts anew */
    *byte = (uint8_t)DATA;
    return true;
}

bool hk_serial_send(uint8_t byte) {
    if ((STATE & STATE_TX_FULL) != 0) {
        return false;
    }
    DATA = byte;
    return true;
}

void hk_serial_allow_interrupt(bool is_allowed) {
    INTSTATUS = INTERRUPT_RX;
    CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE | (is_allowed ? CTRL_RX_INTERRUPT : 0u);
}
