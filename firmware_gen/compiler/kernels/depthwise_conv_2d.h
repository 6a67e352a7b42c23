/* int8 DEPTHWISE_CONV_2D: `multiplier` filters for every channel. Weights lie filter after filter; where there is one filter
 * a channel, point after point, as the values do, so that four channels are added up at once. */
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

static inline int8_t hk_depthwise_output(const hk_depthwise_conv_2d_t *conv, int32_t filter, int32_t sum)
{
    const int32_t scaled = hk_requantize_bounded(sum, conv->scales[filter]);
    return (int8_t)hk_clamp(scaled + conv->zero_point, conv->least, conv->greatest);
}

/* Adds to `sums` what four channels that follow one another give, of all points, `channels` bytes apart. */
static inline void hk_depthwise_four(const int8_t *weights, const int8_t *values, int32_t points, int32_t channels,
                                     int32_t sums[4])
{
#if HK_HAS_MVE
    int32x4_t sum = vldrwq_s32(sums);
    for (; points > 0; points--) {
        sum = vaddq_s32(sum, vmulq_s32(vldrbq_s32(weights), vldrbq_s32(values)));
        weights += channels;
        values += channels;
    }
    vstrwq_s32(sums, sum);
#elif HK_HAS_DSP
    int32_t a = sums[0];
    int32_t b = sums[1];
    int32_t c = sums[2];
    int32_t d = sums[3];
    for (int32_t at = 0; at < points * channels; at += channels) {
        uint32_t w;
        uint32_t x;
        uint32_t even_w;
        uint32_t even_x;
        __builtin_memcpy(&w, weights + at, sizeof w);
        __builtin_memcpy(&x, values + at, sizeof x);
        __asm__("sxtb16 %0, %1" : "=r"(even_w) : "r"(w));
        __asm__("sxtb16 %0, %1" : "=r"(even_x) : "r"(x));
        __asm__("sxtb16 %0, %0, ror #8" : "+r"(w));
        __asm__("sxtb16 %0, %0, ror #8" : "+r"(x));
        __asm__("smlabb %0, %1, %2, %0" : "+r"(a) : "r"(even_w), "r"(even_x));
        __asm__("smlabb %0, %1, %2, %0" : "+r"(b) : "r"(w), "r"(x));
        __asm__("smlatt %0, %1, %2, %0" : "+r"(c) : "r"(even_w), "r"(even_x));
        __asm__("smlatt %0, %1, %2, %0" : "+r"(d) : "r"(w), "r"(x));
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
#else
    int32_t a = sums[0];
    int32_t b = sums[1];
    int32_t c = sums[2];
    int32_t d = sums[3];
    for (int32_t at = 0; at < points * channels; at += channels) {
        const int8_t *w = weights + at;
        const int8_t *x = values + at;
        a += w[0] * x[0];
        b += w[1] * x[1];
        c += w[2] * x[2];
        d += w[3] * x[3];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
#endif
}

/* One filter for each channel of one window. */
static inline void hk_depthwise_channels(const hk_depthwise_conv_2d_t *conv, const int8_t *values, int8_t *out)
{
    const int32_t channels = conv->window.channels;
    int32_t channel = 0;
    for (; channel + 4 <= channels; channel += 4) {
        int32_t sums[4] = {conv->bias[channel], conv->bias[channel + 1], conv->bias[channel + 2],
                           conv->bias[channel + 3]};
        hk_depthwise_four(conv->weights + channel, values + channel, conv->points, channels, sums);
        for (int32_t i = 0; i < 4; i++) {
            *out++ = hk_depthwise_output(conv, channel + i, sums[i]);
        }
    }
    for (; channel < channels; channel++) {
        int32_t sum = conv->bias[channel];
        for (int32_t at = channel; at < conv->points * channels; at += channels) {
            sum += conv->weights[at] * values[at];
        }
        *out++ = hk_depthwise_output(conv, channel, sum);
    }
}

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
        if (conv->multiplier == 1) {
            hk_depthwise_channels(conv, values, out);
            out += channels;
            continue;
        }
        const int8_t *weights = conv->weights;
        int32_t filter = 0;
        for (int32_t channel = 0; channel < channels; channel++) {
            for (int32_t i = 0; i < conv->multiplier; i++, filter++) {
                int32_t sum = conv->bias[filter];
                for (int32_t point = 0; point < conv->points; point++) {
                    sum += *weights++ * values[point * channels + channel];
                }
                *out++ = hk_depthwise_output(conv, filter, sum);
            }
        }
    }
}
