#include "hk_head.h"

#include <stdbool.h>
#include <string.h>

#include "hk_crc32.h"
#include "hk_error.h"
#include "hk_fixed_point.h"

enum {
    VERSION_AT = 4,
    LENGTH_AT = 6,
    NAME_AT = 8,
    HEAD_VERSION_AT = 40,
    TRUNK_HASH_AT = 44,
    THRESHOLDS_AT = 52,
    LAYER_COUNT_AT = 55,
    LAYERS_AT = 56,
    LAYER_HEADER_BYTES = 8,
    SCORES_BYTES = 256,
    CRC_BYTES = 4,
    LEAST_BYTES = LAYERS_AT + SCORES_BYTES + CRC_BYTES,
    TRUNK_HASH_BYTES = 8,
    GREATEST_SHIFT = 15,
    LEAST_SHIFT = -31,
};

_Static_assert(NAME_AT + HK_HEAD_NAME_BYTES == HEAD_VERSION_AT, "the name is followed by the head version");
_Static_assert(TRUNK_HASH_AT + TRUNK_HASH_BYTES == THRESHOLDS_AT, "the hash is followed by the thresholds");
_Static_assert((uint32_t)LEAST_BYTES < HK_HEAD_MAX_BYTES, "a head without weights fits");
_Static_assert(LAYERS_AT % 4 == 0 && LAYER_HEADER_BYTES % 4 == 0, "biases and weights are read in place");
_Static_assert(HK_HEAD_MAX_BYTES <= UINT16_MAX, "the length field has 16 bits");

/* One layer inside the blob. All arrays lie at multiples of 4. */
typedef struct {
    uint32_t inputs;
    uint32_t outputs;
    uint32_t stride; /* bytes from one row of weights to the next */
    int8_t zero_point;
    int8_t least;
    int8_t greatest;
    const uint8_t *bias;
    const uint8_t *multiplier;
    const int8_t *shift;
    const int8_t *weights;
    const uint8_t *end;
} layer_t;

static uint32_t load_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t load_u32(const uint8_t *at)
{
    return load_u16(at) | load_u16(at + 2) << 16;
}

static int32_t load_i32(const uint8_t *at)
{
    return (int32_t)load_u32(at);
}

static uint32_t round_up_4(uint32_t value)
{
    return (value + 3) & ~UINT32_C(3);
}

/* Reads a layer's header and finds its arrays; says whether all of it lies before `end`. */
static bool find_layer(const uint8_t *at, const uint8_t *end, layer_t *layer)
{
    if (end - at < LAYER_HEADER_BYTES) {
        return false;
    }
    layer->inputs = load_u16(at);
    layer->outputs = load_u16(at + 2);
    layer->zero_point = (int8_t)at[4];
    layer->least = (int8_t)at[5];
    layer->greatest = (int8_t)at[6];
    if (at[7] != 0 || layer->inputs == 0 || layer->inputs > HK_HEAD_MAX_WIDTH || layer->outputs == 0 ||
        layer->outputs > HK_HEAD_MAX_WIDTH) {
        return false;
    }
    layer->stride = round_up_4(layer->inputs);
    const uint32_t body_bytes =
        layer->outputs * (4 + 4 + layer->stride) + round_up_4(layer->outputs); /* at most 67,840 */
    at += LAYER_HEADER_BYTES;
    if ((uint32_t)(end - at) < body_bytes) {
        return false;
    }
    layer->bias = at;
    layer->multiplier = layer->bias + 4 * layer->outputs;
    layer->shift = (const int8_t *)(layer->multiplier + 4 * layer->outputs);
    layer->weights = layer->shift + round_up_4(layer->outputs);
    layer->end = at + body_bytes;
    return true;
}

static bool is_zero(const int8_t *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (at[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Whether a layer's numbers keep every sum inside 32 bits and its padding is zero. */
static bool is_layer_sound(const layer_t *layer)
{
    if (layer->least > layer->greatest || !is_zero(layer->shift + layer->outputs, round_up_4(layer->outputs) - layer->outputs)) {
        return false;
    }
    for (uint32_t row = 0; row < layer->outputs; row++) {
        const int64_t bias = load_i32(layer->bias + 4 * row);
        const int32_t multiplier = load_i32(layer->multiplier + 4 * row);
        const int32_t shift = layer->shift[row];
        if (shift < LEAST_SHIFT || shift > GREATEST_SHIFT || (multiplier != 0 && multiplier < INT32_C(1) << 30)) {
            return false;
        }
        const int64_t greatest_sum = (bias < 0 ? -bias : bias) + (INT64_C(128) * 128) * layer->inputs;
        if (greatest_sum << (shift > 0 ? shift : 0) >= INT64_C(1) << 30) {
            return false;
        }
        const int8_t *weights = layer->weights + row * layer->stride;
        if (!is_zero(weights + layer->inputs, layer->stride - layer->inputs)) {
            return false;
        }
    }
    return true;
}

/* 1 to 31 characters of [a-z0-9_], then zeros to the end of the field. */
static bool is_name(const uint8_t *name)
{
    uint32_t length = 0;
    while (length < HK_HEAD_NAME_BYTES && ((name[length] >= 'a' && name[length] <= 'z') ||
                                           (name[length] >= '0' && name[length] <= '9') || name[length] == '_')) {
        length++;
    }
    return length >= 1 && length < HK_HEAD_NAME_BYTES &&
           is_zero((const int8_t *)name + length, HK_HEAD_NAME_BYTES - length);
}

int hk_head_open(hk_head_t *head, const uint8_t *blob, size_t len)
{
    if (head == NULL || blob == NULL || (uintptr_t)blob % 4 != 0) {
        return HK_ERROR_ARGUMENT;
    }
    if (len < LEAST_BYTES) {
        return HK_ERROR_TRUNCATED;
    }
    if (len > HK_HEAD_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (memcmp(blob, "HKHD", 4) != 0) {
        return HK_ERROR_FORMAT;
    }
    if (load_u16(blob + VERSION_AT) != HK_HEAD_FORMAT) {
        return HK_ERROR_VERSION;
    }
    const size_t stated = load_u16(blob + LENGTH_AT);
    if (stated > len) {
        return HK_ERROR_TRUNCATED;
    }
    if (stated != len || len % 4 != 0) {
        return HK_ERROR_FORMAT;
    }
    if (hk_crc32(0, blob, len - CRC_BYTES) != load_u32(blob + len - CRC_BYTES)) {
        return HK_ERROR_CRC;
    }
    /* From here on the bytes are those that somebody meant; they may still not be a head that is safe to run. */
    const uint8_t low = blob[THRESHOLDS_AT];
    const uint8_t normal = blob[THRESHOLDS_AT + 1];
    const uint8_t high = blob[THRESHOLDS_AT + 2];
    const uint8_t layer_count = blob[LAYER_COUNT_AT];
    if (!is_name(blob + NAME_AT) || low < normal || normal < high || high < 1 || layer_count < 1 ||
        layer_count > HK_HEAD_MAX_LAYERS) {
        return HK_ERROR_FORMAT;
    }
    const uint8_t *scores = blob + len - CRC_BYTES - SCORES_BYTES;
    const uint8_t *at = blob + LAYERS_AT;
    uint32_t width = 0;
    for (uint32_t i = 0; i < layer_count; i++) {
        layer_t layer;
        if (!find_layer(at, scores, &layer) || (i > 0 && layer.inputs != width) || !is_layer_sound(&layer)) {
            return HK_ERROR_FORMAT;
        }
        width = layer.outputs;
        at = layer.end;
    }
    if (at != scores || width != 1) {
        return HK_ERROR_FORMAT;
    }
    *head = (hk_head_t){
        .blob = blob,
        .event_name = (const char *)blob + NAME_AT,
        .trunk_hash = blob + TRUNK_HASH_AT,
        .scores = scores,
        .head_version = load_u32(blob + HEAD_VERSION_AT),
        .inputs = (uint16_t)load_u16(blob + LAYERS_AT),
        .layer_count = layer_count,
        .threshold_low = low,
        .threshold_normal = normal,
        .threshold_high = high,
    };
    return 0;
}

int hk_head_check_trunk(const hk_head_t *head, const uint8_t trunk_hash[8], size_t trunk_outputs)
{
    const bool is_fit = head->inputs == trunk_outputs && memcmp(head->trunk_hash, trunk_hash, TRUNK_HASH_BYTES) == 0;
    return is_fit ? 0 : HK_ERROR_MISMATCH;
}

static int8_t finish_row(const layer_t *layer, uint32_t row, int32_t sum)
{
    const hk_scale_t scale = {load_i32(layer->multiplier + 4 * row), layer->shift[row]};
    return (int8_t)hk_clamp(hk_requantize(sum, scale) + layer->zero_point, layer->least, layer->greatest);
}

#if HK_HAS_DSP

/* x0*w0 + x1*w1 + ... for four columns at once. */
static inline int32_t add_four(int32_t sum, const int8_t *weights, uint32_t even, uint32_t odd)
{
    uint32_t packed;
    uint32_t w;
    memcpy(&packed, weights, sizeof packed);
    __asm__("sxtb16 %0, %1" : "=r"(w) : "r"(packed));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(w), "r"(even));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w) : "r"(packed));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(w), "r"(odd));
    return sum;
}

/* Two rows a round, so that each widening of the input serves both. */
static void run_layer(const layer_t *layer, const int8_t *in, int8_t *out)
{
    for (uint32_t row = 0; row < layer->outputs; row += 2) {
        const uint32_t pair = row + 1 < layer->outputs ? row + 1 : row;
        const int8_t *first = layer->weights + row * layer->stride;
        const int8_t *second = layer->weights + pair * layer->stride;
        int32_t a = load_i32(layer->bias + 4 * row);
        int32_t b = load_i32(layer->bias + 4 * pair);
        for (uint32_t column = 0; column < layer->stride; column += 4) {
            uint32_t packed;
            uint32_t even;
            uint32_t odd;
            memcpy(&packed, in + column, sizeof packed);
            __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(packed));
            __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(packed));
            a = add_four(a, first + column, even, odd);
            b = add_four(b, second + column, even, odd);
        }
        out[row] = finish_row(layer, row, a);
        out[pair] = finish_row(layer, pair, b);
    }
}

#else

static void run_layer(const layer_t *layer, const int8_t *in, int8_t *out)
{
    for (uint32_t row = 0; row < layer->outputs; row++) {
        const int8_t *weights = layer->weights + row * layer->stride;
        int32_t sum = load_i32(layer->bias + 4 * row);
        for (uint32_t column = 0; column < layer->inputs; column++) {
            sum += weights[column] * in[column];
        }
        out[row] = finish_row(layer, row, sum);
    }
}

#endif

uint8_t hk_head_score(const hk_head_t *head, const int8_t *trunk)
{
    /* Whole words are read where a layer's width is no multiple of 4: the weights there are zero. */
    int8_t values[2][HK_HEAD_MAX_WIDTH] = {{0}};
    memcpy(values[0], trunk, head->inputs);
    const uint8_t *at = head->blob + LAYERS_AT;
    uint32_t from = 0;
    for (uint32_t i = 0; i < head->layer_count; i++) {
        layer_t layer;
        find_layer(at, head->scores, &layer); /* hk_head_open has seen that it succeeds */
        run_layer(&layer, values[from], values[1 - from]);
        from = 1 - from;
        at = layer.end;
    }
    return head->scores[values[from][0] + 128];
}
