/* Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): bytes without zeros, so that a zero ends a frame. */
#ifndef HK_COBS_H
#define HK_COBS_H

#include <stddef.h>
#include <stdint.h>

/* Largest encoded size of n bytes, without a delimiter. */
#define HK_COBS_MAX(n) ((n) + (n) / 254u + 1u)

/* Encodes piece by piece, so that a frame's parts need no copy into one buffer. The caller owns `out`. */
typedef struct {
    uint8_t *out;
    size_t capacity;
    size_t length;     /* bytes of `out` in use */
    size_t code_index; /* where the open block's length goes */
} hk_cobs_encoder_t;

/* Starts at out[0]. Returns 0, or HK_ERROR_CAPACITY where there is not even room for an empty frame. */
int hk_cobs_begin(hk_cobs_encoder_t *encoder, uint8_t *out, size_t capacity);

/* Appends n bytes. Returns 0, or HK_ERROR_CAPACITY; the encoder is then of no more use. */
int hk_cobs_put(hk_cobs_encoder_t *encoder, const void *data, size_t n);

/* Closes the frame, without a delimiter, and sets *length to its size in `out`. Always succeeds. */
void hk_cobs_end(hk_cobs_encoder_t *encoder, size_t *length);

/* Encodes n bytes in one go. Returns 0 and sets *length, or HK_ERROR_CAPACITY. */
int hk_cobs_encode(const uint8_t *data, size_t n, uint8_t *out, size_t capacity, size_t *length);

/* Decodes n bytes that hold no delimiter; `out` may be `data`. Returns 0 and sets *length;
 * HK_ERROR_FORMAT for a zero among the bytes or for no bytes at all, HK_ERROR_TRUNCATED for a block that goes on
 * beyond the end, HK_ERROR_CAPACITY. */
int hk_cobs_decode(const uint8_t *data, size_t n, uint8_t *out, size_t capacity, size_t *length);

#endif /* HK_COBS_H */
