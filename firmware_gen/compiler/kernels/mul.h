/* int8 MUL. */
typedef struct {
    hk_broadcast_t loops;
    int32_t first_zero_point, second_zero_point;
    hk_scale_t output_scale;
    int32_t zero_point, least, greatest;
} hk_mul_t;

static inline void hk_mul(const hk_mul_t *mul, const int8_t *first, const int8_t *second, int8_t *out)
{
    const hk_broadcast_t *loops = &mul->loops;
    const int32_t runs = loops->count[0] * loops->count[1] * loops->count[2];
    for (int32_t run = 0; run < runs; run++) {
        const int8_t *a = first + hk_broadcast_start(loops, loops->first, run);
        const int8_t *b = second + hk_broadcast_start(loops, loops->second, run);
        for (int32_t i = 0; i < loops->count[3]; i++) {
            const int32_t product = (*a - mul->first_zero_point) * (*b - mul->second_zero_point);
            *out++ = (int8_t)hk_clamp(hk_requantize(product, mul->output_scale) + mul->zero_point, mul->least,
                                      mul->greatest);
            a += loops->first[3];
            b += loops->second[3];
        }
    }
}
