/* The head of one event: a small branch that turns the trunk's output into a score. A head is data, not code.
 *
 * A blob, little-endian, at most HK_HEAD_MAX_BYTES, at an address divisible by 4 (weights and biases are read in place):
 *
 *   offset  size  what
 *        0     4  magic "HKHD"
 *        4     2  format version, HK_HEAD_FORMAT
 *        6     2  length of the whole blob in bytes, divisible by 4
 *        8    32  event name: 1-31 characters of [a-z0-9_], the rest zero
 *       40     4  head version, counts up
 *       44     8  hash of the trunk that the head was trained on (hk_trunk_hash)
 *       52     3  thresholds for the sensitivities low, normal, high: low >= normal >= high >= 1
 *       55     1  number of layers, 1 to HK_HEAD_MAX_LAYERS
 *       56     -  the layers, one after the other, each:
 *                   u16 inputs, u16 outputs,
 *                   i8 output zero point, i8 least output, i8 greatest output, u8 zero,
 *                   i32 bias[outputs], the input's zero point folded in,
 *                   i32 multiplier[outputs], 0 or 2^30 .. 2^31-1,
 *                   i8 shift[outputs rounded up to a multiple of 4], -31 .. 15, the padding zero,
 *                   i16 weights[outputs / 2 rounded up][inputs rounded up to a multiple of 16]: of two outputs that
 *                       follow one another, 256 * second + first; the padding zero
 *        -   256  u8 score[last layer's output + 128]
 *       -4     4  CRC-32 (IEEE 802.3) of all bytes before it
 *
 * The first layer reads the trunk's output, each further one the layer before; the last has one output.
 * y = clamp(zero point + rescale(bias + sum weight * x), least, greatest), where rescale(v) is
 * v * multiplier * 2^(shift - 31), rounded as TensorFlow Lite Micro rounds (hk_requantize in hk_fixed_point.h).
 * (|bias| + 2^14 * inputs) * 2^max(shift, 0) stays under 2^30, so that no sum overflows whatever comes in. */
#ifndef HK_HEAD_H
#define HK_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define HK_HEAD_FORMAT 2u
#define HK_HEAD_MAX_BYTES 2048u
#define HK_HEAD_MAX_LAYERS 4u
#define HK_HEAD_MAX_WIDTH 256u /* outputs of one layer, and outputs of a trunk */
#define HK_HEAD_NAME_BYTES 32u

/* An opened head: views into the blob, which must outlive it and stay unchanged. No resources are held. */
typedef struct {
    const uint8_t *blob;
    const char *event_name;    /* NUL-terminated, inside the blob */
    const uint8_t *trunk_hash; /* 8 bytes */
    const uint8_t *scores;     /* 256 bytes */
    uint32_t head_version;
    uint16_t inputs;
    uint8_t layer_count;
    uint8_t threshold_low, threshold_normal, threshold_high;
} hk_head_t;

/* Reads and checks a blob of any `len` bytes whatever they hold. On failure `head` is left unchanged.
 * HK_ERROR_ARGUMENT: not aligned to 4. HK_ERROR_TRUNCATED: shorter than it says. HK_ERROR_TOO_LARGE: over the limit.
 * HK_ERROR_CRC: altered. HK_ERROR_VERSION: another format version. HK_ERROR_FORMAT: anything else that is not as above.
 * Bytes after the blob's own length are refused (HK_ERROR_FORMAT). */
int hk_head_open(hk_head_t *head, const uint8_t *blob, size_t len);

/* Says whether the head was made for a trunk: its hash and its number of outputs.
 * 0, or HK_ERROR_MISMATCH: scoring would give numbers that mean nothing. */
int hk_head_check_trunk(const hk_head_t *head, const uint8_t trunk_hash[8], size_t trunk_outputs);

/* Scores one step with `count` heads of one trunk (all of the same number of inputs): to scores[i] goes what heads[i]
 * says, 0 (surely not) to 255 (surely), TensorFlow Lite Micro's int8 output + 128. `trunk` holds their inputs at any
 * alignment. Pure; takes about 1,000 bytes of stack. */
void hk_head_score(const hk_head_t *heads, size_t count, const int8_t *trunk, uint8_t *scores);

#endif
