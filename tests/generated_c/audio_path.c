/* Hears a file and writes all that the audio path keeps of it: what one kind of core computes, byte for byte.
 *
 * audio_path IN OUT: IN holds 16 kHz mono int16 samples. OUT gets a row_t for each whole step, then the clip ring. */
#include <stddef.h>
#include <string.h>

#include "hk_listener.h"
#include "hk_port.h"

/* Not the ring's length nor a part of it, so that words are asked for at every turn of their ring. */
enum { STEPS_BETWEEN_WORDS = 37 };

typedef struct {
    uint64_t power[HK_SPECTRUM_BINS]; /* of the step's second frame */
    uint64_t total_power;
    uint64_t first_sample;
    uint32_t words[HK_TRIGGER_FINGERPRINT_WORDS];
    uint32_t reliable[HK_TRIGGER_FINGERPRINT_WORDS];
    uint32_t word_count; /* 0 in steps that do not ask */
    int16_t log_mel_q8[HK_FRAMES_PER_STEP][HK_MEL_BANDS];
    int8_t features[HK_STEP_FEATURES];
    int16_t predicted; /* the ADPCM coder's, and its step */
    uint8_t step_index;
    uint8_t usable[HK_FINGERPRINT_USABLE_BYTES];
    uint8_t padding[4];
} row_t;

static hk_listener_t listener;
static row_t row;
static int16_t pcm[HK_STEP_SAMPLES];

_Static_assert(offsetof(row_t, padding) + sizeof row.padding == sizeof(row_t), "a row ends without padding");

static void hear_step(uint32_t step)
{
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    hk_listener_step(&listener, pcm, events);
    memset(&row, 0, sizeof row);
    for (uint32_t bin = 0; bin < HK_SPECTRUM_BINS; bin++) {
        row.power[bin] = hk_frontend_power(&listener.detector.frontend, bin);
    }
    row.total_power = listener.detector.frontend.total_power;
    memcpy(row.log_mel_q8, listener.detector.frames, sizeof row.log_mel_q8);
    memcpy(row.features, listener.detector.features, sizeof row.features);
    row.step_index = listener.ring.coder.step_index;
    row.predicted = listener.ring.coder.predicted;
    if (step % STEPS_BETWEEN_WORDS == STEPS_BETWEEN_WORDS - 1) {
        const hk_listener_words_t latest = hk_listener_fingerprint(&listener);
        row.word_count = latest.count;
        row.first_sample = latest.first_sample;
        memcpy(row.words, latest.words, latest.count * sizeof latest.words[0]);
        memcpy(row.reliable, latest.reliable, latest.count * sizeof latest.reliable[0]);
        memcpy(row.usable, latest.usable, sizeof latest.usable);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3 || hk_listener_init(&listener) != 0) {
        return 2;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0) {
        return 2;
    }
    for (uint32_t step = 0; hk_board_file_read(in, pcm, sizeof pcm) == sizeof pcm; step++) {
        hear_step(step);
        if (hk_board_file_write(out, &row, sizeof row) != 0) {
            return 2;
        }
    }
    const int status = hk_board_file_write(out, listener.ring.blocks, sizeof listener.ring.blocks);
    hk_board_file_close(in);
    hk_board_file_close(out);
    return status;
}
