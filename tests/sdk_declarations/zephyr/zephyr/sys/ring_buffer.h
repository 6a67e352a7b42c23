/* Zephyr 4.2: ring buffers. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_SYS_RING_BUFFER_H
#define HARKEN_DECLARATIONS_ZEPHYR_SYS_RING_BUFFER_H

#include <stdint.h>

struct ring_buf {
    uint8_t *buffer;
    uint32_t size;
};

#define RING_BUF_DECLARE(name, size8)         \
    static uint8_t name##_ring_buffer[size8]; \
    struct ring_buf name = {name##_ring_buffer, (size8)}

uint32_t ring_buf_put_claim(struct ring_buf *buf, uint8_t **data, uint32_t size);
int ring_buf_put_finish(struct ring_buf *buf, uint32_t size);
uint32_t ring_buf_put(struct ring_buf *buf, const uint8_t *data, uint32_t size);
uint32_t ring_buf_get_claim(struct ring_buf *buf, uint8_t **data, uint32_t size);
int ring_buf_get_finish(struct ring_buf *buf, uint32_t size);
uint32_t ring_buf_get(struct ring_buf *buf, uint8_t *data, uint32_t size);

#endif
