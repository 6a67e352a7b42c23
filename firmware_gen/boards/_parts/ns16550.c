/* A 16550 serial port with byte-wide registers, as on QEMU's RISC-V virt machine. */
#include "hk_board.h"
#include "hk_parts.h"

#define REGISTER(offset) (*(volatile uint8_t *)(uintptr_t)(HK_BOARD_SERIAL_ADDRESS + (offset)))
#define DATA REGISTER(0)
#define INTERRUPT_ENABLE REGISTER(1)
#define FIFO_CONTROL REGISTER(2)
#define LINE_CONTROL REGISTER(3)
#define LINE_STATUS REGISTER(5)

enum {
    INTERRUPT_RECEIVED = 1u << 0,
    FIFO_ENABLE = 1u << 0,
    LINE_8N1 = 3,
    STATUS_RECEIVED = 1u << 0,
    STATUS_SEND_EMPTY = 1u << 5,
};

void hk_serial_start(void) {
    LINE_CONTROL = LINE_8N1;
    FIFO_CONTROL = FIFO_ENABLE;
    hk_serial_allow_interrupt(true);
}

bool hk_serial_receive(uint8_t *byte) {
    if ((LINE_STATUS & STATUS_RECEIVED) == 0) {
        return false;
    }
    *byte = DATA;
    return true;
}

bool hk_serial_send(uint8_t byte) {
    if ((LINE_STATUS & STATUS_SEND_EMPTY) == 0) {
        return false;
    }
    DATA = byte;
    return true;
}

void hk_serial_allow_interrupt(bool is_allowed) {
    INTERRUPT_ENABLE = is_allowed ? INTERRUPT_RECEIVED : 0;
}
