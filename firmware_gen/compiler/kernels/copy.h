/* Values that only move. */

static inline void hk_copy(const void *source, void *target, uint32_t byte_count)
{
    memcpy(target, source, byte_count);
}

/* Copies one input of a CONCATENATION: `rows` runs of `run_bytes`, `stride_bytes` apart in the output. */
static inline void hk_copy_rows(const void *source, uint8_t *target, uint32_t rows, uint32_t run_bytes,
                                uint32_t stride_bytes)
{
    const uint8_t *from = source;
    for (uint32_t row = 0; row < rows; row++) {
        memcpy(target, from, run_bytes);
        from += run_bytes;
        target += stride_bytes;
    }
}
