/* int8 MEAN: three loops over the axes that stay, three over those that are averaged; the last of each innermost. */
typedef struct {
    int32_t kept[3], kept_stride[3];
    int32_t reduced[3], reduced_stride[3];
    int32_t start;    /* of every sum: the input's zero point, as often as there are values, taken away */
    hk_scale_t scale; /* divides by the number of values too */
    int32_t zero_point;
} hk_mean_t;

static inline int32_t hk_mean_sum(const hk_mean_t *mean, const int8_t *in)
{
    int32_t sum = mean->start;
    for (int32_t i = 0; i < mean->reduced[0]; i++) {
        for (int32_t j = 0; j < mean->reduced[1]; j++) {
            const int8_t *value = in + i * mean->reduced_stride[0] + j * mean->reduced_stride[1];
            for (int32_t k = 0; k < mean->reduced[2]; k++) {
                sum += value[k * mean->reduced_stride[2]];
            }
        }
    }
    return sum;
}

static inline void hk_mean(const hk_mean_t *mean, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < mean->kept[0]; i++) {
        for (int32_t j = 0; j < mean->kept[1]; j++) {
            const int8_t *start = in + i * mean->kept_stride[0] + j * mean->kept_stride[1];
            for (int32_t k = 0; k < mean->kept[2]; k++) {
                const int32_t sum = hk_mean_sum(mean, start + k * mean->kept_stride[2]);
                *out++ = (int8_t)hk_clamp(hk_requantize(sum, mean->scale) + mean->zero_point, -128, 127);
            }
        }
    }
}
