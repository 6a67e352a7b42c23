#include "hk_cobs.h"

#include "hk_error.h"

#define FULL_BLOCK 0xFFu /* 254 bytes without an implied zero after them */

int hk_cobs_begin(hk_cobs_encoder_t *encoder, uint8_t *out, size_t capacity)
{
    if (capacity == 0) {
        return HK_ERROR_CAPACITY;
    }
    encoder->out = out;
    encoder->capacity = capacity;
    encoder->code_index = 0;
    encoder->length = 1;
    out[0] = 1;
    return HK_OK;
}

static int open_block(hk_cobs_encoder_t *encoder)
{
    if (encoder->length == encoder->capacity) {
        return HK_ERROR_CAPACITY;
    }
    encoder->code_index = encoder->length;
    encoder->out[encoder->length++] = 1;
    return HK_OK;
}

int hk_cobs_put(hk_cobs_encoder_t *encoder, const void *data, size_t n)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        /* A full block is closed only when more follows: 254 bytes need one byte of overhead, not two. */
        if (encoder->out[encoder->code_index] == FULL_BLOCK && open_block(encoder) != HK_OK) {
            return HK_ERROR_CAPACITY;
        }
        if (bytes[i] == 0) {
            if (open_block(encoder) != HK_OK) {
                return HK_ERROR_CAPACITY;
            }
        } else {
            if (encoder->length == encoder->capacity) {
                return HK_ERROR_CAPACITY;
            }
            encoder->out[encoder->length++] = bytes[i];
            encoder->out[encoder->code_index]++;
        }
    }
    return HK_OK;
}

void hk_cobs_end(hk_cobs_encoder_t *encoder, size_t *length)
{
    *length = encoder->length;
}

int hk_cobs_encode(const uint8_t *data, size_t n, uint8_t *out, size_t capacity, size_t *length)
{
    hk_cobs_encoder_t encoder;
    int status = hk_cobs_begin(&encoder, out, capacity);
    if (status == HK_OK) {
        status = hk_cobs_put(&encoder, data, n);
    }
    if (status == HK_OK) {
        hk_cobs_end(&encoder, length);
    }
    return status;
}

int hk_cobs_decode(const uint8_t *data, size_t n, uint8_t *out, size_t capacity, size_t *length)
{
    size_t read = 0;
    size_t written = 0;
    if (n == 0) {
        return HK_ERROR_FORMAT;
    }
    while (read < n) {
        const size_t code = data[read++];
        if (code == 0) {
            return HK_ERROR_FORMAT;
        }
        if (code - 1 > n - read) {
            return HK_ERROR_TRUNCATED;
        }
        if (code - 1 > capacity - written) {
            return HK_ERROR_CAPACITY;
        }
        for (size_t i = 1; i < code; i++) {
            const uint8_t byte = data[read++];
            if (byte == 0) {
                return HK_ERROR_FORMAT;
            }
            out[written++] = byte;
        }
        if (code != FULL_BLOCK && read < n) {
            if (written == capacity) {
                return HK_ERROR_CAPACITY;
            }
            out[written++] = 0;
        }
    }
    *length = written;
    return HK_OK;
}
