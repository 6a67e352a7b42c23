/* Replays a recording through what a device computes: for each step of 20 ms in, its features and scores out.
 *
 * replay IN OUT [EVENTS]: IN holds 16 kHz mono int16 samples; OUT gets, per whole step, 80 bytes of features and one
 * byte for each head, in the order of the heads. With EVENTS the tracker listens too, armed and with every event on at
 * its normal sensitivity: what it reports goes there, one hk_event_record_t after the other. */
#include <stdbool.h>
#include <string.h>

#include "event_record.h"
#include "hk_error.h"
#include "hk_listener.h"
#include "hk_port.h"

/* One call to the host costs more than a step does, so all files move in blocks of many steps. */
enum { STEPS_PER_BLOCK = 16, NO_FILE = -1 };

static hk_listener_t listener;
static int16_t pcm[STEPS_PER_BLOCK * HK_STEP_SAMPLES];
static uint8_t rows[STEPS_PER_BLOCK * (HK_STEP_FEATURES + HK_EVENT_COUNT)];

/* Fills the buffer as far as the file goes; a pipe may give less at a time than it holds. Returns whole steps. */
static size_t read_steps(int file)
{
    size_t bytes = 0;
    size_t got;
    do {
        got = hk_board_file_read(file, (uint8_t *)pcm + bytes, sizeof pcm - bytes);
        bytes += got;
    } while (got > 0 && bytes < sizeof pcm);
    return bytes / (HK_STEP_SAMPLES * sizeof pcm[0]);
}

static bool write_failed(void)
{
    hk_board_print("harken: replay: the output cannot be written: free space on the disk");
    return false;
}

/* Hears one step, and writes what the tracker reports where that is asked for; false where it cannot be written. */
static bool hear(const int16_t step[HK_STEP_SAMPLES], int events_file)
{
    if (events_file == NO_FILE) {
        hk_detector_step(&listener.detector, step, NULL, NULL);
        return true;
    }
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    const size_t count = hk_listener_step(&listener, step, events);
    for (size_t i = 0; i < count; i++) {
        const hk_event_record_t record = hk_event_record(&events[i]);
        if (hk_board_file_write(events_file, (const uint8_t *)&record, sizeof record) != 0) {
            return write_failed();
        }
    }
    return true;
}

static int replay(int in, int out, int events_file)
{
    const hk_detector_t *detector = &listener.detector;
    for (;;) {
        const size_t steps = read_steps(in);
        size_t used = 0;
        for (size_t i = 0; i < steps; i++) {
            if (!hear(pcm + i * HK_STEP_SAMPLES, events_file)) {
                return 1;
            }
            memcpy(rows + used, detector->features, HK_STEP_FEATURES);
            used += HK_STEP_FEATURES;
            memcpy(rows + used, detector->head_scores, detector->head_count);
            used += detector->head_count;
        }
        if (hk_board_file_write(out, rows, used) != 0) {
            (void)write_failed();
            return 1;
        }
        if (steps < STEPS_PER_BLOCK) {
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

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        hk_board_print("harken: usage: replay IN OUT [EVENTS]");
        return 2;
    }
    const int status = start_listening();
    if (status != 0) {
        hk_board_print("harken: replay: the heads of this image cannot be used:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = in < 0 ? NO_FILE : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    const int events = argc < 4 || out < 0 ? NO_FILE : hk_board_file_open(argv[3], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0 || (argc == 4 && events < 0)) {
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
