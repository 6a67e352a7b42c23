/* int8 AVERAGE_POOL_2D and MAX_POOL_2D: points outside the image do not count. */
typedef struct {
    hk_window_t window;
    int32_t least, greatest;
} hk_pool_2d_t;

/* What of a window lies inside the image, and how much that is. */
typedef struct {
    const int8_t *start;
    int32_t height, width;
} hk_pool_part_t;

static inline hk_pool_part_t hk_pool_part(const hk_window_t *window, const int8_t *in, int32_t at)
{
    const int32_t points = window->out_height * window->out_width;
    const int32_t y = at % points / window->out_width * window->stride_height - window->pad_height;
    const int32_t x = at % window->out_width * window->stride_width - window->pad_width;
    const int32_t top = y > 0 ? y : 0;
    const int32_t left = x > 0 ? x : 0;
    const int32_t bottom = y + window->filter_height < window->height ? y + window->filter_height : window->height;
    const int32_t right = x + window->filter_width < window->width ? x + window->filter_width : window->width;
    const int8_t *image = in + at / points * (window->height * window->width * window->channels);
    return (hk_pool_part_t){image + (top * window->width + left) * window->channels, bottom - top, right - left};
}

static inline void hk_average_pool_2d(const hk_pool_2d_t *pool, const int8_t *in, int8_t *out)
{
    const hk_window_t *window = &pool->window;
    for (int32_t at = 0; at < window->batches * window->out_height * window->out_width; at++) {
        const hk_pool_part_t part = hk_pool_part(window, in, at);
        const int32_t count = part.height * part.width;
        for (int32_t channel = 0; channel < window->channels; channel++) {
            int32_t sum = 0;
            for (int32_t row = 0; row < part.height; row++) {
                for (int32_t column = 0; column < part.width; column++) {
                    sum += part.start[(row * window->width + column) * window->channels + channel];
                }
            }
            const int32_t mean = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
            *out++ = (int8_t)hk_clamp(mean, pool->least, pool->greatest);
        }
    }
}

static inline void hk_max_pool_2d(const hk_pool_2d_t *pool, const int8_t *in, int8_t *out)
{
    const hk_window_t *window = &pool->window;
    for (int32_t at = 0; at < window->batches * window->out_height * window->out_width; at++) {
        const hk_pool_part_t part = hk_pool_part(window, in, at);
        for (int32_t channel = 0; channel < window->channels; channel++) {
            int32_t most = -128;
            for (int32_t row = 0; row < part.height; row++) {
                for (int32_t column = 0; column < part.width; column++) {
                    const int32_t value = part.start[(row * window->width + column) * window->channels + channel];
                    most = value > most ? value : most;
                }
            }
            *out++ = (int8_t)hk_clamp(most, pool->least, pool->greatest);
        }
    }
}
