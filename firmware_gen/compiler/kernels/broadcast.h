/* Loops over two inputs that meet element by element; a stride of 0 repeats a value. The last loop is the innermost. */
typedef struct {
    int32_t count[4];
    int32_t first[4];
    int32_t second[4];
} hk_broadcast_t;

/* Where the innermost loop starts in an input with these strides, for the `run`th time. */
static inline int32_t hk_broadcast_start(const hk_broadcast_t *loops, const int32_t stride[4], int32_t run)
{
    int32_t start = 0;
    for (int32_t i = 2; i >= 0; i--) {
        start += run % loops->count[i] * stride[i];
        run /= loops->count[i];
    }
    return start;
}
