/* Replays a recording through what a device computes: for each step of 20 ms in, its features and scores out.
 *
 * replay IN OUT [EVENTS [SEED]]: IN holds 16 kHz mono int16 samples; OUT gets, per whole step, 80 bytes of features and
 * one byte for each head, in the order of the heads. With EVENTS, unless it is "-", the tracker listens too, armed and with
 * every event on at its normal sensitivity: what it reports goes there, one hk_event_record_t after the other. With a
 * SEED, 1 to 4294967295, the sound comes in pieces of random length, as a microphone or a link may deliver it, and before
 * each piece the detector's state is saved elsewhere, wiped and restored: nothing may depend on either. */
#include <stdbool.h>
#include <string.h>

#include "event_record.h"
#include "hk_error.h"
#include "hk_listener.h"
#include "hk_port.h"
#include "hk_step.h"

/* One call to the host costs more than a step does, so all files move in blocks of many steps. */
enum { STEPS_PER_BLOCK = 16, BLOCK_SAMPLES = STEPS_PER_BLOCK * HK_STEP_SAMPLES, NO_FILE = -1 };
enum { PIECE_BITS_MAX = 12, WIPED = 0xa5 };

static hk_listener_t listener;
static hk_detector_t saved;
static hk_step_t step;
static int16_t pcm[BLOCK_SAMPLES];
static uint8_t rows[(STEPS_PER_BLOCK + 1) * (HK_STEP_FEATURES + HK_EVENT_COUNT)]; /* a step may have begun before */
static uint32_t row_bytes;
static uint32_t random_state; /* 0: no pieces */

/* xorshift32 (Marsaglia 2003). */
static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* 1 to 4,096 samples, every order of magnitude as often as any other. */
static size_t next_piece(void)
{
    const uint32_t bits = next_random() % (PIECE_BITS_MAX + 1);
    return 1 + (next_random() & ((1u << bits) - 1));
}

static void save_and_restore(void)
{
    memcpy(&saved, &listener.detector, sizeof saved);
    memset(&listener.detector, WIPED, sizeof listener.detector);
    memcpy(&listener.detector, &saved, sizeof saved);
}

static bool write_failed(void)
{
    hk_board_print("harken: replay: the output cannot be written: free space on the disk");
    return false;
}

/* Hears the whole step, and writes what the tracker reports where that is asked for; false where it cannot be written. */
static bool hear_step(int events_file)
{
    const hk_detector_t *detector = &listener.detector;
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    size_t count = 0;
    step.fill = 0;
    if (events_file == NO_FILE) {
        hk_detector_step(&listener.detector, step.pcm, NULL, NULL);
    } else {
        count = hk_listener_step(&listener, step.pcm, events);
    }
    for (size_t i = 0; i < count; i++) {
        const hk_event_record_t record = hk_event_record(&events[i]);
        if (hk_board_file_write(events_file, (const uint8_t *)&record, sizeof record) != 0) {
            return write_failed();
        }
    }
    memcpy(rows + row_bytes, detector->features, HK_STEP_FEATURES);
    row_bytes += HK_STEP_FEATURES;
    memcpy(rows + row_bytes, detector->head_scores, detector->head_count);
    row_bytes += detector->head_count;
    return true;
}

/* Hears `n` samples as the device hears what is pushed. */
static bool push(const int16_t *samples, size_t n, int events_file)
{
    while (n > 0) {
        const size_t taken = hk_step_take(&step, samples, n);
        samples += taken;
        n -= taken;
        if (hk_step_is_whole(&step) && !hear_step(events_file)) {
            return false;
        }
    }
    return true;
}

static bool push_in_pieces(const int16_t *samples, size_t n, int events_file)
{
    while (n > 0) {
        const size_t wanted = next_piece();
        const size_t piece = wanted < n ? wanted : n;
        save_and_restore();
        if (!push(samples, piece, events_file)) {
            return false;
        }
        samples += piece;
        n -= piece;
    }
    return true;
}

/* Fills the buffer as far as the file goes. Returns samples. */
static size_t read_block(int file)
{
    return hk_board_file_fill(file, pcm, sizeof pcm) / sizeof pcm[0];
}

static int replay(int in, int out, int events_file)
{
    for (;;) {
        const size_t samples = read_block(in);
        row_bytes = 0;
        const bool is_heard = random_state != 0 ? push_in_pieces(pcm, samples, events_file)
                                                : push(pcm, samples, events_file);
        if (!is_heard) {
            return 1;
        }
        if (hk_board_file_write(out, rows, row_bytes) != 0) {
            (void)write_failed();
            return 1;
        }
        if (samples < BLOCK_SAMPLES) {
            return 0;
        }
    }
}

static int start_listening(void)
{
    int status = hk_listener_init(&listener);
    for (uint8_t event = 0; status == 0 && event < HK_EVENT_COUNT; event++) {
        status = hk_tracker_set_event(&listener.tracker, event, true, HK_SENSITIVITY_NORMAL);
    }
    if (status == 0) {
        hk_tracker_set_armed(&listener.tracker, true);
    }
    return status;
}

/* 0 where the text is not a number of 32 bits. */
static uint32_t read_number(const char *text)
{
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9' && number <= UINT32_MAX; text++) {
        number = 10 * number + (uint64_t)(*text - '0');
    }
    return *text == '\0' && number <= UINT32_MAX ? (uint32_t)number : 0;
}

int main(int argc, char **argv)
{
    random_state = argc == 5 ? read_number(argv[4]) : 0;
    if (argc < 3 || argc > 5 || (argc == 5 && random_state == 0)) {
        hk_board_print("harken: usage: replay IN OUT [EVENTS [SEED]]");
        return 2;
    }
    const int status = start_listening();
    if (status != 0) {
        hk_board_print("harken: replay: the heads of this image cannot be used:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    const bool has_events = argc >= 4 && strcmp(argv[3], "-") != 0;
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = in < 0 ? NO_FILE : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    const int events = !has_events || out < 0 ? NO_FILE : hk_board_file_open(argv[3], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0 || (has_events && events < 0)) {
        hk_board_print(in < 0 ? "harken: replay: cannot read the first file" : "harken: replay: cannot write the others");
        return 1;
    }
    const int result = replay(in, out, events);
    hk_board_file_close(in);
    hk_board_file_close(out);
    if (events != NO_FILE) {
        hk_board_file_close(events);
    }
    return result;
}
