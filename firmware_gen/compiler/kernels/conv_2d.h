/* int8 CONV_2D: every window is laid out in a row (or read where it lies, if it is one point), then a dense layer.
 * The input's zero point is folded into the bias. */
typedef struct {
    hk_window_t window;
    int32_t depth; /* channels that one filter sees */
    int32_t groups;
    int32_t filters; /* in a group */
    uint32_t columns; /* values of a filter */
    const int8_t *weights;
    const int32_t *bias;
    const hk_scale_t *scales; /* one a filter */
    int32_t input_zero_point, zero_point, least, greatest;
    int32_t is_gathered;
} hk_conv_2d_t;

static inline void hk_conv_2d(const hk_conv_2d_t *conv, const int8_t *in, int8_t *out, int8_t *patch)
{
    const hk_window_t *window = &conv->window;
    const int32_t points = window->out_height * window->out_width;
    for (int32_t at = 0; at < window->batches * points; at++) {
        const int8_t *image = in + at / points * (window->height * window->width * window->channels);
        const int32_t top = at % points / window->out_width * window->stride_height - window->pad_height;
        const int32_t left = at % window->out_width * window->stride_width - window->pad_width;
        const int8_t *weights = conv->weights;
        int32_t filter = 0;
        for (int32_t group = 0; group < conv->groups; group++) {
            const int32_t first = group * conv->depth;
            const int8_t *values = patch;
            if (conv->is_gathered) {
                hk_gather(window, image, top, left, first, conv->depth, conv->input_zero_point, patch);
            } else {
                values = image + (top * window->width + left) * window->channels + first;
            }
            for (int32_t i = 0; i < conv->filters; i++, filter++) {
                const int32_t sum = hk_dense_row(conv->bias[filter], weights, values, conv->columns);
                weights += conv->columns;
                const int32_t scaled = hk_requantize_bounded(sum, conv->scales[filter]);
                *out++ = (int8_t)hk_clamp(scaled + conv->zero_point, conv->least, conv->greatest);
            }
        }
    }
}
