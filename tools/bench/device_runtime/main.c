/* Lets the device's audio path hear a file, and writes what each step of it took.
 *
 * listen PCM FIGURES: PCM holds 16 kHz mono int16 samples. FIGURES gets, little-endian: u32 instructions and u32 ticks
 * of a loop of known length; u32 rounds, u32 ticks and hk_bench_parts_t of that many calls that do nothing; the parts'
 * names, 128 bytes; then for each whole step u32 ticks and hk_bench_parts_t. */
#include <string.h>

#include "../instruction_clock/hk_bench_clock.h"
#include "hk_error.h"
#include "hk_listener.h"
#include "hk_port.h"
#include "parts.h"

/* A call to the host costs more than a step does, so both files move in blocks of many steps. */
enum { STEPS_PER_BLOCK = 16, NAMES_BYTES = 128, SPIN_ROUNDS = 2000000, NOTHING_ROUNDS = 10000 };

_Static_assert(sizeof HK_BENCH_PART_NAMES <= NAMES_BYTES, "the names fit their place");

typedef struct {
    uint32_t ticks;
    hk_bench_parts_t parts;
} row_t;

typedef struct {
    uint32_t spin_instructions;
    uint32_t spin_ticks;
    uint32_t nothing_rounds;
    uint32_t nothing_ticks;
    hk_bench_parts_t nothing;
    char names[NAMES_BYTES];
} preamble_t;

static hk_listener_t listener;
static int16_t pcm[STEPS_PER_BLOCK * HK_STEP_SAMPLES];
static row_t rows[STEPS_PER_BLOCK];
static preamble_t preamble;

/* Fills the buffer as far as the file goes. Returns whole steps. */
static size_t read_steps(int file)
{
    return hk_board_file_fill(file, pcm, sizeof pcm) / (HK_STEP_SAMPLES * sizeof pcm[0]);
}

static uint32_t ticks_since(uint32_t before)
{
    return (hk_bench_ticks() - before) & hk_bench_tick_mask;
}

static void calibrate(void)
{
    uint32_t before = hk_bench_ticks();
    hk_bench_spin(SPIN_ROUNDS);
    preamble.spin_ticks = ticks_since(before);
    preamble.spin_instructions = 2 * SPIN_ROUNDS;

    hk_bench_parts_restart();
    before = hk_bench_ticks();
    for (uint32_t i = NOTHING_ROUNDS; i != 0; i--) {
        hk_bench_nothing(&listener, pcm, rows);
    }
    preamble.nothing_ticks = ticks_since(before);
    preamble.nothing_rounds = NOTHING_ROUNDS;
    preamble.nothing = hk_bench_parts;
    memcpy(preamble.names, HK_BENCH_PART_NAMES, sizeof HK_BENCH_PART_NAMES);
}

static int listen_to(int in, int out)
{
    int status = hk_board_file_write(out, &preamble, sizeof preamble);
    size_t steps = STEPS_PER_BLOCK;
    while (status == 0 && steps == STEPS_PER_BLOCK) {
        steps = read_steps(in);
        for (size_t i = 0; i < steps; i++) {
            hk_event_t events[HK_TRACKER_EVENTS_MAX];
            hk_bench_parts_restart();
            const uint32_t before = hk_bench_ticks();
            (void)hk_listener_step(&listener, pcm + i * HK_STEP_SAMPLES, events);
            rows[i].ticks = ticks_since(before);
            rows[i].parts = hk_bench_parts;
        }
        status = hk_board_file_write(out, rows, steps * sizeof rows[0]);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        hk_board_print("harken: usage: listen PCM FIGURES");
        return 2;
    }
    const int status = hk_listener_init(&listener);
    if (status != 0) {
        hk_board_print("harken: listen: the heads of this image cannot be used:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    const int out = in < 0 ? -1 : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    if (in < 0 || out < 0) {
        hk_board_print(in < 0 ? "harken: listen: cannot read the first file" : "harken: listen: cannot write the second");
        return 1;
    }
    hk_bench_clock_start();
    calibrate();
    const int result = listen_to(in, out);
    hk_board_file_close(in);
    hk_board_file_close(out);
    if (result != 0) {
        hk_board_print("harken: listen: the figures cannot be written: free space on the disk");
    }
    return result == 0 ? 0 : 1;
}
