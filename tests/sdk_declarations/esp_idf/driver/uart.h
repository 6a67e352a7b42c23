/* ESP-IDF 5.5: the UART driver. */
#ifndef HARKEN_DECLARATIONS_DRIVER_UART_H
#define HARKEN_DECLARATIONS_DRIVER_UART_H

#include "esp_err.h"
#include "freertos/FreeRTOS.h"

typedef enum { UART_NUM_0 = 0, UART_NUM_MAX = 3 } uart_port_t;
typedef struct QueueDefinition *QueueHandle_t;

esp_err_t uart_driver_install(uart_port_t uart_num, int rx_buffer_size, int tx_buffer_size, int queue_size,
                              QueueHandle_t *uart_queue, int intr_alloc_flags);
int uart_read_bytes(uart_port_t uart_num, void *buf, uint32_t length, TickType_t ticks_to_wait);
int uart_write_bytes(uart_port_t uart_num, const void *src, size_t size);

#endif
