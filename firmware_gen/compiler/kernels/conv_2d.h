/* int8 CONV_2D: every window is laid out in a row (or read where it lies, if it is one point), then a dense layer.
 * The input's zero point is folded into the bias; firmware_gen has proved that sums stay under 2^30 shifted left. */
typedef struct {
    hk_window_t window;
    int32_t depth; /* channels that one filter sees */
    int32_t groups;
    uint32_t filters; /* in a group */
    uint32_t columns; /* values of a filter */
    const hk_rows_weight_t *rows; /* NULL where the filters do not fit the form of kernels/rows.h: then `weights` */
    const int8_t *weights;
    uint32_t group_weights; /* of `rows`, from one group to the next */
    const int32_t *bias;
    const hk_scale_t *scales; /* one a filter */
    int32_t input_zero_point, zero_point, least, greatest;
    int32_t is_gathered;
} hk_conv_2d_t;

static inline int8_t hk_conv_output(const hk_conv_2d_t *conv, uint32_t filter, int32_t sum)
{
    const int32_t scaled = hk_requantize_bounded(sum, conv->scales[filter]);
    return (int8_t)hk_clamp(scaled + conv->zero_point, conv->least, conv->greatest);
}

/* Applies the filters of one group to one window's values. `room` is for them as int16 in whole blocks. */
static inline void hk_conv_filters(const hk_conv_2d_t *conv, uint32_t group, const int8_t *values, int16_t *room,
                                   int8_t *out)
{
    const uint32_t first = group * conv->filters;
    if (conv->rows != NULL) {
        hk_rows(conv->rows + group * conv->group_weights, conv->bias + first, conv->scales + first, 1, conv->filters,
                conv->columns, conv->zero_point, conv->least, conv->greatest,
                hk_rows_values(values, conv->columns, room), out);
        return;
    }
    const int8_t *weights = conv->weights + first * conv->columns;
    for (uint32_t filter = first; filter < first + conv->filters; filter++) {
        *out++ = hk_conv_output(conv, filter, hk_dense_row(conv->bias[filter], weights, values, conv->columns));
        weights += conv->columns;
    }
}

/* `room` holds the columns as int16 in whole blocks, `patch` as many bytes as there are columns. */
static inline void hk_conv_2d(const hk_conv_2d_t *conv, const int8_t *in, int8_t *out, int16_t *room, int8_t *patch)
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
            hk_conv_filters(conv, (uint32_t)group, values, room, out);
            out += conv->filters;
        }
    }
}
