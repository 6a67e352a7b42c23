/* Replays a recording through what a device computes: for each step of 20 ms in, its features and scores out.
 *
 * replay IN OUT: IN holds 16 kHz mono int16 samples; OUT gets, per whole step, 80 bytes of features and one byte for
 * each head, in the order of the heads. */
#include <string.h>

#include "hk_detector.h"
#include "hk_error.h"
#include "hk_port.h"

/* One call to the host costs more than a step does, so both files move in blocks of many steps. */
enum { STEPS_PER_BLOCK = 16 };

static hk_detector_t detector;
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

static int replay(int in, int out)
{
    for (;;) {
        const size_t steps = read_steps(in);
        size_t used = 0;
        for (size_t i = 0; i < steps; i++) {
            hk_detector_step(&detector, pcm + i * HK_STEP_SAMPLES, NULL, NULL);
            memcpy(rows + used, detector.features, HK_STEP_FEATURES);
            used += HK_STEP_FEATURES;
            memcpy(rows + used, detector.head_scores, detector.head_count);
            used += detector.head_count;
        }
        if (hk_board_file_write(out, rows, used) != 0) {
            hk_board_print("harken: replay: the output cannot be written: free space on the disk");
            return 1;
        }
        if (steps < STEPS_PER_BLOCK) {
            return 0;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        hk_board_print("harken: usage: replay IN OUT");
        return 2;
    }
    const int status = hk_detector_init(&detector);
    if (status != 0) {
        hk_board_print("harken: replay: the heads of this image cannot be used:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = in < 0 ? -1 : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0) {
        hk_board_print(in < 0 ? "harken: replay: cannot read the first file" : "harken: replay: cannot write the second");
        return 1;
    }
    const int result = replay(in, out);
    hk_board_file_close(in);
    hk_board_file_close(out);
    return result;
}
