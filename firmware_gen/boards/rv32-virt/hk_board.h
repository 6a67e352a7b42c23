/* Where QEMU's RISC-V virt machine has what riscv.c and ns16550.c use. */
#ifndef HK_BOARD_H
#define HK_BOARD_H

#define HK_BOARD_NAME "rv32-virt"
#define HK_BOARD_CLINT_ADDRESS 0x02000000u
#define HK_BOARD_MTIME_HZ 10000000u
#define HK_BOARD_PLIC_ADDRESS 0x0c000000u
#define HK_BOARD_SERIAL_ADDRESS 0x10000000u
#define HK_BOARD_SERIAL_IRQ 10u

#endif
