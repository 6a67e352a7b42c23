/* int8 SOFTMAX. Exponentials of all differences from the greatest value of a row were computed when compiling: Q0.31,
 * the first that of 0; those beyond the last count as 0. */
typedef struct {
    const int32_t *exponentials;
    int32_t exponential_count;
    int32_t rows, columns;
} hk_softmax_t;

/* 1/(1 + x) in Q0.31 for x in [0, 1) in Q0.31, by three Newton-Raphson steps on 2/(1 + x) in Q2.29. */
static inline int32_t hk_softmax_reciprocal(int32_t x)
{
    const int32_t half = (x >> 1) + (INT32_C(1) << 30); /* of 1 + x */
    int32_t y = INT32_C(1515870810) + hk_multiply_high_round(INT32_C(-1010580540), half); /* 48/17 - 32/17 * half */
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (INT32_C(1) << 29) - hk_multiply_high_round(y, half);
        y += hk_multiply_high_round(error, y) * 4;
    }
    return y >= INT32_C(1) << 30 ? INT32_MAX : y * 2;
}

static inline void hk_softmax(const hk_softmax_t *softmax, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < softmax->rows; row++) {
        int32_t most = -128;
        for (int32_t i = 0; i < softmax->columns; i++) {
            most = in[i] > most ? in[i] : most;
        }
        int32_t sum = 0; /* Q12.19 */
        for (int32_t i = 0; i < softmax->columns; i++) {
            const int32_t below = most - in[i];
            if (below < softmax->exponential_count) {
                sum += hk_shift_right_round(softmax->exponentials[below], 12);
            }
        }
        int32_t shift = 12 + 23; /* to 8 bits, less one for every leading zero of the sum */
        uint32_t normalized = (uint32_t)sum;
        for (; normalized < UINT32_C(1) << 31; normalized <<= 1) {
            shift--;
        }
        const int32_t reciprocal = hk_softmax_reciprocal((int32_t)(normalized - (UINT32_C(1) << 31)));
        for (int32_t i = 0; i < softmax->columns; i++) {
            const int32_t below = most - in[i];
            int32_t value = -128;
            if (below < softmax->exponential_count) {
                const int32_t product = hk_multiply_high_round(reciprocal, softmax->exponentials[below]);
                value = hk_clamp(hk_shift_right_round(product, shift) - 128, -128, 127);
            }
            out[i] = (int8_t)value;
        }
        in += softmax->columns;
        out += softmax->columns;
    }
}
