/* int8 DEPTHWISE_CONV_2D: `multiplier` filters for every channel. Weights lie filter after filter. */
typedef struct {
    hk_window_t window;
    int32_t multiplier;
    int32_t points; /* of a filter */
    const int8_t *weights;
    const int32_t *bias;      /* the input's zero point folded in */
    const hk_scale_t *scales; /* one a filter */
    int32_t input_zero_point, zero_point, least, greatest;
    int32_t is_gathered;
} hk_depthwise_conv_2d_t;

static inline void hk_depthwise_conv_2d(const hk_depthwise_conv_2d_t *conv, const int8_t *in, int8_t *out,
                                        int8_t *patch)
{
    const hk_window_t *window = &conv->window;
    const int32_t points = window->out_height * window->out_width;
    const int32_t channels = window->channels;
    for (int32_t at = 0; at < window->batches * points; at++) {
        const int8_t *image = in + at / points * (window->height * window->width * channels);
        const int32_t top = at % points / window->out_width * window->stride_height - window->pad_height;
        const int32_t left = at % window->out_width * window->stride_width - window->pad_width;
        const int8_t *values = patch;
        if (conv->is_gathered) {
            hk_gather(window, image, top, left, 0, channels, conv->input_zero_point, patch);
        } else {
            values = image + (top * window->width + left) * channels;
        }
        const int8_t *weights = conv->weights;
        int32_t filter = 0;
        for (int32_t channel = 0; channel < channels; channel++) {
            for (int32_t i = 0; i < conv->multiplier; i++, filter++) {
                int32_t sum = conv->bias[filter];
                for (int32_t point = 0; point < conv->points; point++) {
                    sum += *weights++ * values[point * channels + channel];
                }
                const int32_t scaled = hk_requantize_bounded(sum, conv->scales[filter]);
                *out++ = (int8_t)hk_clamp(scaled + conv->zero_point, conv->least, conv->greatest);
            }
        }
    }
}
