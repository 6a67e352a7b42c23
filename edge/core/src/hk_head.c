#include "hk_head.h"

#include <stdbool.h>
#include <string.h>

#include "hk_crc32.h"
#include "hk_dense.h"
#include "hk_error.h"
#include "hk_row_pairs.h"

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
    LEAST_OUTPUT_BYTES = 4 + 4 + 1 + HK_ROW_PAIRS_BLOCK, /* bias, multiplier, shift and half a block of pairs of weights */
    HIDDEN_MAX = (HK_HEAD_MAX_BYTES - LEAST_BYTES - 2 * LAYER_HEADER_BYTES) / LEAST_OUTPUT_BYTES,
};

_Static_assert(NAME_AT + HK_HEAD_NAME_BYTES == HEAD_VERSION_AT, "the name is followed by the head version");
_Static_assert(TRUNK_HASH_AT + TRUNK_HASH_BYTES == THRESHOLDS_AT, "the hash is followed by the thresholds");
_Static_assert((uint32_t)LEAST_BYTES < HK_HEAD_MAX_BYTES, "a head without weights fits");
_Static_assert(LAYERS_AT % 4 == 0 && LAYER_HEADER_BYTES % 4 == 0, "biases and weights are read in place");
_Static_assert(HK_HEAD_MAX_BYTES <= UINT16_MAX, "the length field has 16 bits");
_Static_assert(HK_HEAD_MAX_WIDTH % HK_ROW_PAIRS_BLOCK == 0, "a trunk's output is whole blocks");

static uint32_t load_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t load_u32(const uint8_t *at)
{
    return load_u16(at) | load_u16(at + 2) << 16;
}

static uint32_t round_up_4(uint32_t value)
{
    return (value + 3) & ~UINT32_C(3);
}

static uint32_t weight_count(uint32_t inputs, uint32_t outputs)
{
    return (outputs + 1) / 2 * HK_ROW_PAIRS_COLUMNS(inputs);
}

/* Reads a layer's header, finds its arrays and returns where the layer ends. All of them lie at multiples of 4. */
static const uint8_t *read_layer(const uint8_t *at, hk_dense_t *layer)
{
    layer->inputs = load_u16(at);
    layer->outputs = load_u16(at + 2);
    layer->zero_point = (int8_t)at[4];
    layer->least = (int8_t)at[5];
    layer->greatest = (int8_t)at[6];
    layer->bias = (const int32_t *)(const void *)(at + LAYER_HEADER_BYTES);
    layer->multiplier = layer->bias + layer->outputs;
    layer->shift = (const int8_t *)(layer->multiplier + layer->outputs);
    layer->weights = (const int16_t *)(const void *)(layer->shift + round_up_4(layer->outputs));
    return (const uint8_t *)(layer->weights + weight_count(layer->inputs, layer->outputs));
}

/* Whether a layer begins at `at` and all of it lies before `end`. */
static bool is_layer_whole(const uint8_t *at, const uint8_t *end)
{
    if (end - at < LAYER_HEADER_BYTES) {
        return false;
    }
    const uint32_t inputs = load_u16(at);
    const uint32_t outputs = load_u16(at + 2);
    if (at[7] != 0 || inputs == 0 || inputs > HK_HEAD_MAX_WIDTH || outputs == 0 || outputs > HK_HEAD_MAX_WIDTH) {
        return false;
    }
    const uint32_t body_bytes =
        outputs * (4 + 4) + round_up_4(outputs) + 2 * weight_count(inputs, outputs); /* at most 67,840 */
    return (uint32_t)(end - at) >= LAYER_HEADER_BYTES + body_bytes;
}

static bool is_zero(const void *from, uint32_t count)
{
    const uint8_t *at = from;
    for (uint32_t i = 0; i < count; i++) {
        if (at[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Whether the weights beyond the last column are zero. Others may be anything: two rows in one int16 are between -128
 * and 128 each. */
static bool is_padding_zero(const hk_dense_t *layer)
{
    const uint32_t columns = HK_ROW_PAIRS_COLUMNS(layer->inputs);
    for (uint32_t pair = 0; pair < (layer->outputs + 1) / 2; pair++) {
        const int16_t *row = layer->weights + pair * columns;
        if (!is_zero(row + layer->inputs, (columns - layer->inputs) * sizeof *row)) {
            return false;
        }
    }
    return is_zero(layer->shift + layer->outputs, round_up_4(layer->outputs) - layer->outputs);
}

/* Whether a layer's numbers keep every sum inside 32 bits and its padding is zero. */
static bool is_layer_sound(const hk_dense_t *layer)
{
    if (layer->least > layer->greatest || !is_padding_zero(layer)) {
        return false;
    }
    for (uint32_t row = 0; row < layer->outputs; row++) {
        const int64_t bias = layer->bias[row];
        const int32_t multiplier = layer->multiplier[row];
        const int32_t shift = layer->shift[row];
        if (shift < LEAST_SHIFT || shift > GREATEST_SHIFT || (multiplier != 0 && multiplier < INT32_C(1) << 30)) {
            return false;
        }
        const int64_t greatest_sum = (bias < 0 ? -bias : bias) + (INT64_C(128) * 128) * layer->inputs;
        if (greatest_sum << (shift > 0 ? shift : 0) >= INT64_C(1) << 30) {
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
           is_zero(name + length, HK_HEAD_NAME_BYTES - length);
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
        if (!is_layer_whole(at, scores)) {
            return HK_ERROR_FORMAT;
        }
        hk_dense_t layer;
        at = read_layer(at, &layer);
        if ((i > 0 && layer.inputs != width) || !is_layer_sound(&layer)) {
            return HK_ERROR_FORMAT;
        }
        width = layer.outputs;
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

enum { HIDDEN_VALUES = HK_ROW_PAIRS_COLUMNS((uint32_t)HIDDEN_MAX) };

/* Working memory of one head. */
typedef struct {
    _Alignas(4) int16_t hidden[2][HIDDEN_VALUES];
    int32_t sums[HIDDEN_VALUES + 1];
} work_t;

/* What lies beyond the last value meets weights of zero, and yet must not be what nobody wrote. */
static void fill_block(int16_t *values, uint32_t count)
{
    for (uint32_t i = count; i < HK_ROW_PAIRS_COLUMNS(count); i++) {
        values[i] = 0;
    }
}

static uint8_t score_head(const hk_head_t *head, const int16_t *trunk, work_t *work)
{
    const int16_t *in = trunk;
    const uint8_t *at = head->blob + LAYERS_AT;
    for (uint32_t i = 0; i < head->layer_count; i++) {
        hk_dense_t layer;
        at = read_layer(at, &layer); /* hk_head_open has seen that it is whole */
        hk_dense_run(&layer, in, work->sums, work->hidden[i % 2]);
        if (layer.outputs > 1) {
            fill_block(work->hidden[i % 2], layer.outputs);
        }
        in = work->hidden[i % 2];
    }
    return head->scores[in[0] + 128];
}

void hk_head_score(const hk_head_t *heads, size_t count, const int8_t *trunk, uint8_t *scores)
{
    if (count == 0) {
        return;
    }
    _Alignas(4) int16_t values[HK_HEAD_MAX_WIDTH];
    const uint32_t inputs = heads[0].inputs;
    hk_dense_load(trunk, inputs, values); /* once for all of them */
    fill_block(values, inputs);
    work_t work;
    for (size_t i = 0; i < count; i++) {
        scores[i] = score_head(&heads[i], values, &work);
    }
}
