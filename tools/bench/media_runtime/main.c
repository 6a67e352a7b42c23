/* Looks for sounds in a device's set of known media, and writes what was found and what it took.
 *
 * media IN FIGURES: IN holds, little-endian, u32 bytes of a set and the set; then for each sound u32 words, as many u32
 * words and as many u32 masks. FIGURES gets u32 instructions and u32 ticks of a loop of known length; then for each sound
 * u32 ticks, i32 status, u32 clip, u32 phase, i32 offset, u32 bits, u32 bit errors. */
#include "../instruction_clock/hk_bench_clock.h"
#include "hk_error.h"
#include "hk_media_set.h"
#include "hk_port.h"

enum { SPIN_ROUNDS = 2000000 };

typedef struct {
    uint32_t ticks;
    int32_t status;
    uint32_t clip;
    uint32_t phase;
    int32_t offset;
    uint32_t bits;
    uint32_t bit_errors;
} row_t;

static _Alignas(4) uint8_t blob[HK_MEDIA_SET_MAX_BYTES];
static uint32_t words[HK_TRIGGER_FINGERPRINT_WORDS];
static uint32_t masks[HK_TRIGGER_FINGERPRINT_WORDS];

/* Whether all `n` bytes were there. */
static int read_all(int file, void *to, size_t n)
{
    return hk_board_file_fill(file, to, n) == n;
}

static uint32_t ticks_since(uint32_t before)
{
    return (hk_bench_ticks() - before) & hk_bench_tick_mask;
}

static int read_set(int file, hk_media_set_t *set)
{
    uint32_t length = 0;
    if (!read_all(file, &length, sizeof length) || length > sizeof blob || !read_all(file, blob, length)) {
        return HK_ERROR_TRUNCATED;
    }
    return hk_media_set_open(set, blob, length);
}

static int look_for_all(const hk_media_set_t *set, int in, int out)
{
    uint32_t count;
    int status = HK_OK;
    while (status == HK_OK && read_all(in, &count, sizeof count)) {
        if (count > HK_TRIGGER_FINGERPRINT_WORDS || !read_all(in, words, count * sizeof words[0])
            || !read_all(in, masks, count * sizeof masks[0])) {
            return HK_ERROR_TRUNCATED;
        }
        const hk_fingerprint_query_t query = {.words = words, .reliable = masks, .count = count};
        hk_media_hit_t hit = {0};
        row_t row = {0};
        const uint32_t before = hk_bench_ticks();
        row.status = hk_media_set_find(set, &query, &hit);
        row.ticks = ticks_since(before);
        row.clip = hit.clip;
        row.phase = hit.phase;
        row.offset = hit.match.offset;
        row.bits = hit.match.bits;
        row.bit_errors = hit.match.bit_errors;
        status = hk_board_file_write(out, &row, sizeof row);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        hk_board_print("harken: usage: media IN FIGURES");
        return 2;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = in < 0 ? -1 : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0) {
        hk_board_print(in < 0 ? "harken: media: cannot read the first file" : "harken: media: cannot write the second");
        return 1;
    }
    hk_media_set_t set;
    int status = read_set(in, &set);
    if (status == HK_OK) {
        hk_bench_clock_start();
        const uint32_t before = hk_bench_ticks();
        hk_bench_spin(SPIN_ROUNDS);
        const uint32_t spin[2] = {2 * SPIN_ROUNDS, ticks_since(before)};
        status = hk_board_file_write(out, spin, sizeof spin);
    }
    if (status == HK_OK) {
        status = look_for_all(&set, in, out);
    }
    hk_board_file_close(in);
    hk_board_file_close(out);
    if (status != HK_OK) {
        hk_board_print("harken: media:");
        hk_board_print(hk_error_text(status));
    }
    return status == HK_OK ? 0 : 1;
}
