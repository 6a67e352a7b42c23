/* int8 ADD: both values to one finer scale, their sum to the output's. */
typedef struct {
    hk_broadcast_t loops;
    int32_t first_zero_point, second_zero_point;
    hk_scale_t first_scale, second_scale, output_scale; /* all below one */
    int32_t headroom_bits;
    int32_t zero_point, least, greatest;
} hk_add_t;

static inline void hk_add(const hk_add_t *add, const int8_t *first, const int8_t *second, int8_t *out)
{
    const hk_broadcast_t *loops = &add->loops;
    const int32_t runs = loops->count[0] * loops->count[1] * loops->count[2];
    for (int32_t run = 0; run < runs; run++) {
        const int8_t *a = first + hk_broadcast_start(loops, loops->first, run);
        const int8_t *b = second + hk_broadcast_start(loops, loops->second, run);
        for (int32_t i = 0; i < loops->count[3]; i++) {
            const int32_t fine_a = (*a - add->first_zero_point) * (INT32_C(1) << add->headroom_bits);
            const int32_t fine_b = (*b - add->second_zero_point) * (INT32_C(1) << add->headroom_bits);
            const int32_t sum = hk_requantize(fine_a, add->first_scale) + hk_requantize(fine_b, add->second_scale);
            *out++ = (int8_t)hk_clamp(hk_requantize(sum, add->output_scale) + add->zero_point, add->least,
                                      add->greatest);
            a += loops->first[3];
            b += loops->second[3];
        }
    }
}
