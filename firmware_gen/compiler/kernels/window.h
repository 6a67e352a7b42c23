/* A filter that slides over an image of [height, width, channels]. */
typedef struct {
    int32_t batches;
    int32_t height, width, channels; /* of the image */
    int32_t filter_height, filter_width;
    int32_t stride_height, stride_width;
    int32_t dilation_height, dilation_width;
    int32_t pad_height, pad_width; /* points above and to the left that are outside */
    int32_t out_height, out_width;
} hk_window_t;

/* Copies `depth` channels from `first` on of every point under a filter at (top, left). A point outside counts as the
 * input's zero point: weights times that is what the bias, with the zero point folded in, takes away again. */
static inline void hk_gather(const hk_window_t *window, const int8_t *image, int32_t top, int32_t left, int32_t first,
                             int32_t depth, int32_t zero_point, int8_t *patch)
{
    for (int32_t row = 0; row < window->filter_height; row++) {
        const int32_t y = top + row * window->dilation_height;
        for (int32_t column = 0; column < window->filter_width; column++) {
            const int32_t x = left + column * window->dilation_width;
            if (y >= 0 && y < window->height && x >= 0 && x < window->width) {
                memcpy(patch, image + (y * window->width + x) * window->channels + first, (size_t)depth);
            } else {
                memset(patch, zero_point, (size_t)depth);
            }
            patch += depth;
        }
    }
}
