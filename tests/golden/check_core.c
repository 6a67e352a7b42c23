/* Holds the core to the golden vectors, on any machine: prints one line for each module and exits 1 on a difference.
 *
 * core_vectors.h is written by test_core_vectors.py from the JSON files beside this one. On a Cortex-M it also prints
 * what a call costs, in ticks of SysTick. */
#include <string.h>

#include "core_vectors.h"
#include "hk_clip_ring.h"
#include "hk_error.h"
#include "hk_fingerprint.h"
#include "hk_frontend.h"
#include "hk_port.h"

static hk_frontend_t frontend;
static hk_fingerprint_t fingerprint;
static hk_clip_ring_t ring;
static uint8_t clip_data[HK_CLIP_DATA_BYTES];
static uint32_t differing;

/* A line of words and numbers: a board has no printf. */
typedef struct {
    char text[96];
    size_t used;
} line_t;

static void add_text(line_t *line, const char *text)
{
    const size_t length = strlen(text);
    memcpy(line->text + line->used, text, length + 1);
    line->used += length;
}

static void add_number(line_t *line, uint32_t number)
{
    char digits[11];
    char *digit = digits + sizeof digits - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    add_text(line, digit);
}

/* "what 12 of 34 unit", which the test reads. */
static void print_counts(const char *what, uint32_t count, uint32_t of, const char *unit)
{
    line_t line = {.used = 0};
    add_text(&line, what);
    add_text(&line, " ");
    add_number(&line, count);
    add_text(&line, " of ");
    add_number(&line, of);
    add_text(&line, unit);
    hk_board_print(line.text);
}

static void report(const char *what, uint32_t checked, uint32_t differing_here)
{
    print_counts(what, differing_here, checked, " differ");
    differing += differing_here;
}

#if defined(__arm__)
#define SYSTICK(offset) (*(volatile uint32_t *)(0xE000E010u + (offset)))
enum { SYSTICK_MAX = 0xFFFFFF };

static void start_ticks(void)
{
    SYSTICK(4) = SYSTICK_MAX;
    SYSTICK(8) = 0;
    SYSTICK(0) = 5; /* core clock, no interrupt */
}

static uint32_t ticks(void)
{
    return SYSTICK_MAX - SYSTICK(8);
}
#else
static void start_ticks(void)
{
}

static uint32_t ticks(void)
{
    return 0;
}
#endif

static void report_cost(const char *what, uint32_t spent, uint32_t calls)
{
    print_counts(what, spent, calls, " calls");
}

static void check_frontend(void)
{
    uint32_t checked = 0;
    uint32_t wrong = 0;
    uint32_t spent = 0;
    uint32_t calls = 0;
    for (size_t c = 0; c < FRONTEND_CASES; c++) {
        hk_frontend_init(&frontend);
        for (size_t n = 0; n < FRONTEND_FRAMES; n++) {
            hk_frame_t frame;
            int8_t features[HK_MEL_BANDS];
            const uint32_t before = ticks();
            hk_frontend_push(&frontend, frontend_pcm[c] + n * HK_HOP_SAMPLES, &frame);
            hk_frame_features(&frame, features);
            spent += ticks() - before;
            calls++;
            for (size_t band = 0; band < HK_MEL_BANDS; band++) {
                checked += 2;
                wrong += frame.log_mel_q8[band] != frontend_log_mel_q8[c][n][band];
                wrong += features[band] != frontend_features[c][n][band];
            }
        }
    }
    report("frontend", checked, wrong);
    report_cost("frontend", spent, calls);
}

static void check_fingerprint(void)
{
    uint32_t checked = 0;
    uint32_t wrong = 0;
    uint32_t spent = 0;
    uint32_t calls = 0;
    for (size_t c = 0; c < FINGERPRINT_CASES; c++) {
        hk_frontend_init(&frontend);
        hk_fingerprint_init(&fingerprint);
        size_t words = 0;
        for (size_t n = 0; n < FINGERPRINT_WORDS * HK_FRAMES_PER_STEP; n++) {
            hk_frame_t frame;
            hk_fingerprint_word_t word;
            hk_frontend_push(&frontend, fingerprint_pcm[c] + n * HK_HOP_SAMPLES, &frame);
            const uint32_t before = ticks();
            const int is_word = hk_fingerprint_push(&fingerprint, &frontend, &word);
            spent += ticks() - before;
            calls++;
            if (is_word == 1) {
                checked += 3;
                wrong += word.bits != fingerprint_words[c][words];
                wrong += word.reliable != fingerprint_reliable[c][words];
                wrong += word.is_usable != fingerprint_is_usable[c][words];
                words++;
            }
        }
        wrong += words != FINGERPRINT_WORDS;
    }
    report("fingerprint", checked, wrong);
    report_cost("fingerprint", spent, calls);
}

static void check_matcher(void)
{
    hk_fingerprint_match_t best;
    uint32_t wrong = 0;
    const uint32_t *words = fingerprint_words[1];
    static uint32_t every_second[FINGERPRINT_WORDS];
    for (size_t n = 0; n < FINGERPRINT_WORDS; n += 2) {
        every_second[n] = UINT32_MAX;
    }
    const hk_fingerprint_query_t part = {.words = words + 5, .count = 10};
    const hk_fingerprint_query_t whole = {.words = words, .reliable = every_second, .count = FINGERPRINT_WORDS};
    const hk_fingerprint_query_t shortest = {.words = words, .count = 3};
    wrong += hk_fingerprint_match(&part, words, FINGERPRINT_WORDS, 1, 320, &best) != HK_OK;
    wrong += best.offset != 5 || best.bits != 320 || best.bit_errors != 0;
    wrong += hk_fingerprint_match(&whole, words, FINGERPRINT_WORDS, 1, 160, &best) != HK_OK;
    wrong += best.offset != 0 || best.bits != FINGERPRINT_WORDS / 2 * 32;
    wrong += hk_fingerprint_match(&shortest, words, FINGERPRINT_WORDS, 1, 97, &best) != HK_ERROR_NOT_FOUND;
    wrong += hk_fingerprint_match(&shortest, words, FINGERPRINT_WORDS, 1, 0, &best) != HK_ERROR_ARGUMENT;
    wrong += hk_fingerprint_match(&shortest, words, FINGERPRINT_WORDS, 0, 1, &best) != HK_ERROR_ARGUMENT;
    wrong += hk_fingerprint_self_match(&whole, 0, 1, &best) != HK_ERROR_ARGUMENT;
    wrong += hk_fingerprint_self_match(&part, 10, 1, &best) != HK_ERROR_NOT_FOUND;
    report("matcher", 9, wrong);
}

static void check_adpcm(void)
{
    uint32_t checked = 0;
    uint32_t wrong = 0;
    uint32_t spent = 0;
    uint32_t calls = 0;
    for (size_t c = 0; c < ADPCM_CASES; c++) {
        hk_clip_ring_init(&ring);
        const uint32_t before = ticks();
        hk_clip_ring_push(&ring, adpcm_pcm[c], ADPCM_BLOCKS * HK_CLIP_BLOCK_SAMPLES);
        spent += ticks() - before;
        calls += (uint32_t)ADPCM_BLOCKS * HK_CLIP_BLOCK_SAMPLES;
        hk_clip_cut_t clip;
        const uint64_t end = ADPCM_BLOCKS * HK_CLIP_BLOCK_SAMPLES;
        wrong += hk_clip_ring_cut(&ring, 0, end, clip_data, sizeof clip_data, &clip) != HK_OK;
        wrong += clip.first_sample != 0 || clip.sample_count != end || clip.bytes != sizeof adpcm_blocks[c];
        for (size_t n = 0; n < sizeof adpcm_blocks[c]; n++) {
            checked++;
            wrong += clip_data[n] != adpcm_blocks[c][n];
        }
        for (size_t block = 0; block < ADPCM_BLOCKS; block++) {
            int16_t pcm[HK_CLIP_BLOCK_SAMPLES];
            wrong += hk_adpcm_decode_block(adpcm_blocks[c] + block * HK_CLIP_BLOCK_BYTES, pcm) != HK_OK;
            for (size_t n = 0; n < HK_CLIP_BLOCK_SAMPLES; n++) {
                checked++;
                wrong += pcm[n] != adpcm_decoded[c][block * HK_CLIP_BLOCK_SAMPLES + n];
            }
        }
    }
    report("adpcm", checked, wrong);
    report_cost("adpcm", spent, calls);
}

/* Every length and place at which a clip can be cut, against a buffer of just the right size. */
static void check_ring(void)
{
    uint32_t checked = 0;
    uint32_t wrong = 0;
    hk_clip_cut_t clip;
    int16_t pcm[HK_STEP_SAMPLES];
    hk_clip_ring_init(&ring);
    wrong += hk_clip_ring_cut(&ring, 0, 1, clip_data, sizeof clip_data, &clip) != HK_ERROR_NOT_FOUND;
    for (uint32_t step = 0; step < 450; step++) {
        for (uint32_t n = 0; n < HK_STEP_SAMPLES; n++) {
            pcm[n] = (int16_t)(step * 37 + n);
        }
        hk_clip_ring_push(&ring, pcm, HK_STEP_SAMPLES);
        if (ring.samples_heard >= HK_CLIP_SAMPLES + HK_STEP_SAMPLES) {
            for (uint32_t late = 0; late < HK_STEP_SAMPLES; late += 53) {
                const uint64_t to = ring.samples_heard - late;
                const uint64_t from = to - HK_CLIP_SAMPLES;
                checked++;
                wrong += hk_clip_ring_cut(&ring, from, to, clip_data, sizeof clip_data, &clip) != HK_OK;
                wrong += clip.first_sample > from || from - clip.first_sample >= HK_CLIP_BLOCK_SAMPLES;
                wrong += clip.first_sample + clip.sample_count != to;
                wrong += hk_clip_ring_cut(&ring, from, to, clip_data, clip.bytes - 1, &clip) != HK_ERROR_CAPACITY;
            }
        }
    }
    wrong += hk_clip_ring_cut(&ring, 9, 9, clip_data, sizeof clip_data, &clip) != HK_ERROR_ARGUMENT;
    wrong += hk_clip_ring_cut(&ring, 0, 9, clip_data, sizeof clip_data, &clip) != HK_ERROR_NOT_FOUND;
    report("ring", checked, wrong);
}

int main(void)
{
    start_ticks();
    check_frontend();
    check_fingerprint();
    check_matcher();
    check_adpcm();
    check_ring();
    return differing != 0;
}
