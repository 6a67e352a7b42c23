/* Zephyr 4.2: time and semaphores. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_KERNEL_H
#define HARKEN_DECLARATIONS_ZEPHYR_KERNEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t ticks;
} k_timeout_t;

struct k_sem {
    unsigned int count;
    unsigned int limit;
};

#define K_MSEC(ms) ((k_timeout_t){(ms)})
#define K_SEM_DEFINE(name, initial_count, count_limit) struct k_sem name = {(initial_count), (count_limit)}

uint32_t k_uptime_get_32(void);
int k_sem_take(struct k_sem *sem, k_timeout_t timeout);
void k_sem_give(struct k_sem *sem);

#endif
