/* Zephyr 4.2: printing. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_SYS_PRINTK_H
#define HARKEN_DECLARATIONS_ZEPHYR_SYS_PRINTK_H

void printk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
