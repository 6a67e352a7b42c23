/* int8 CONV_2D: every window is laid out in a row (or read where it lies, if it is one point), then a dense layer.
 * The input's zero point is folded into the bias; firmware_gen has proved that sums stay under 2^30 shifted left. */
typedef struct {
    hk_window_t window;
    int32_t depth; /* channels that one filter sees */
    int32_t groups;
    uint32_t filters; /* in a group */
    uint32_t columns; /* values of a filter */
    const int8_t *weights;
    const int32_t *bias;
    const hk_scale_t *scales; /* one a filter */
    int32_t input_zero_point, zero_point, least, greatest;
    int32_t is_gathered;
} hk_conv_2d_t;

#if HK_HAS_DSP

/* Widens int8 to pairs of int16: columns 0 and 2, then 1 and 3, of every 4 as SXTB16 takes them apart. */
static inline void hk_conv_widen(const int8_t *values, uint32_t groups, uint32_t *pairs)
{
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t word;
        memcpy(&word, values + 4 * i, sizeof word);
        __asm__("sxtb16 %0, %1" : "=r"(pairs[2 * i]) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(pairs[2 * i + 1]) : "r"(word));
    }
}

/* Adds up two filters at once, so that the values are loaded for both: 8 products in 11 instructions. */
static inline void hk_conv_two_rows(int32_t sums[2], const int8_t *first, const int8_t *second, const uint32_t *pairs,
                                    uint32_t groups)
{
    int32_t a = sums[0];
    int32_t b = sums[1];
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t first_word;
        uint32_t second_word;
        uint32_t w;
        memcpy(&first_word, first + 4 * i, sizeof first_word);
        memcpy(&second_word, second + 4 * i, sizeof second_word);
        __asm__("sxtb16 %0, %1" : "=r"(w) : "r"(first_word));
        __asm__("smlad %0, %1, %2, %0" : "+r"(a) : "r"(w), "r"(pairs[2 * i]));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(w) : "r"(first_word));
        __asm__("smlad %0, %1, %2, %0" : "+r"(a) : "r"(w), "r"(pairs[2 * i + 1]));
        __asm__("sxtb16 %0, %1" : "=r"(w) : "r"(second_word));
        __asm__("smlad %0, %1, %2, %0" : "+r"(b) : "r"(w), "r"(pairs[2 * i]));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(w) : "r"(second_word));
        __asm__("smlad %0, %1, %2, %0" : "+r"(b) : "r"(w), "r"(pairs[2 * i + 1]));
    }
    sums[0] = a;
    sums[1] = b;
}

#endif

static inline int8_t hk_conv_output(const hk_conv_2d_t *conv, uint32_t filter, int32_t sum)
{
    const int32_t scaled = hk_requantize_bounded(sum, conv->scales[filter]);
    return (int8_t)hk_clamp(scaled + conv->zero_point, conv->least, conv->greatest);
}

/* Applies the filters from `first` on, as many as a group has, to one window's values. */
static inline void hk_conv_filters(const hk_conv_2d_t *conv, uint32_t first, const int8_t *values, uint32_t *pairs,
                                   int8_t *out)
{
    const int8_t *weights = conv->weights + first * conv->columns;
    uint32_t filter = first;
    const uint32_t end = first + conv->filters;
#if HK_HAS_DSP
    const uint32_t groups = conv->columns / 4;
    hk_conv_widen(values, groups, pairs);
    for (; filter + 2 <= end; filter += 2) {
        const int8_t *next = weights + conv->columns;
        int32_t sums[2] = {conv->bias[filter], conv->bias[filter + 1]};
        hk_conv_two_rows(sums, weights, next, pairs, groups);
        for (uint32_t column = 4 * groups; column < conv->columns; column++) {
            sums[0] += weights[column] * values[column];
            sums[1] += next[column] * values[column];
        }
        *out++ = hk_conv_output(conv, filter, sums[0]);
        *out++ = hk_conv_output(conv, filter + 1, sums[1]);
        weights = next + conv->columns;
    }
    if (conv->filters % 2 != 0) {
        *out = hk_conv_output(conv, filter, hk_dense_row(conv->bias[filter], weights, values, conv->columns));
    }
#else
    (void)pairs;
    for (; filter < end; filter++) {
        *out++ = hk_conv_output(conv, filter, hk_dense_row(conv->bias[filter], weights, values, conv->columns));
        weights += conv->columns;
    }
#endif
}

/* `pairs` holds 2 words for every 4 columns, `patch` as many bytes as there are columns. */
static inline void hk_conv_2d(const hk_conv_2d_t *conv, const int8_t *in, int8_t *out, uint32_t *pairs, int8_t *patch)
{
    const hk_window_t *window = &conv->window;
    const int32_t points = window->out_height * window->out_width;
    for (int32_t at = 0; at < window->batches * points; at++) {
        const int8_t *image = in + at / points * (window->height * window->width * window->channels);
        const int32_t top = at % points / window->out_width * window->stride_height - window->pad_height;
        const int32_t left = at % window->out_width * window->stride_width - window->pad_width;
        for (int32_t group = 0; group < conv->groups; group++) {
            const int32_t first = group * conv->depth;
            const int8_t *values = patch;
            if (conv->is_gathered) {
                hk_gather(window, image, top, left, first, conv->depth, conv->input_zero_point, patch);
            } else {
                values = image + (top * window->width + left) * window->channels + first;
            }
            hk_conv_filters(conv, (uint32_t)group * conv->filters, values, pairs, out);
            out += conv->filters;
        }
    }
}
