/* Runs an engine over inputs linked into the image, and writes the outputs and what they took to files on the machine
 * that runs the emulator. */
#include <stddef.h>

#include "hk_engine.h"
#include "runtime.h"

extern const int8_t hk_bench_inputs[];
extern const uint32_t hk_bench_steps;
extern uint8_t hk_bench_outputs[];

extern uint32_t hk_stack_bottom[];

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_EXIT = 0x18, MODE_WB = 5 };
enum { APPLICATION_EXIT = 0x20026, SPIN_ROUNDS = 2000000, STEPS_PER_READING = 25 };

#define PAINT UINT32_C(0xa5a5a5a5)

static hk_engine_t engine;

static void write_file(const char *name, uint32_t name_len, const void *bytes, uint32_t count)
{
    const uintptr_t open[3] = {(uintptr_t)name, MODE_WB, name_len};
    const intptr_t handle = hk_bench_semihost(SYS_OPEN, open);
    const uintptr_t write[3] = {(uintptr_t)handle, (uintptr_t)bytes, count};
    hk_bench_semihost(SYS_WRITE, write);
    hk_bench_semihost(SYS_CLOSE, &handle);
}

#ifdef HK_BENCH_OPERATORS

/* The operators, then what lies between two steps, then what a look at the clock costs by itself. */
enum { BETWEEN_STEPS = HK_BENCH_OPERATORS, LOOK = HK_BENCH_OPERATORS + 1 };
static uint32_t split_ticks[HK_BENCH_OPERATORS + 2];

void hk_bench_operator_done(uint32_t number)
{
    static uint32_t before;
    const uint32_t now = hk_bench_ticks();
    split_ticks[number] += (now - before) & hk_bench_tick_mask;
    before = now;
}

#define BEFORE_STEP() (hk_bench_operator_done(BETWEEN_STEPS), hk_bench_operator_done(LOOK))

#else

#define BEFORE_STEP() ((void)0)

#endif

/* Ticks of all the steps. They are read once in STEPS_PER_READING: seldom enough to hardly count, and before the timer
 * can go round. */
__attribute__((noinline)) static uint32_t run_steps(uintptr_t *stack_pointer)
{
    const int8_t *in = hk_bench_inputs;
    int8_t *out = (int8_t *)hk_bench_outputs;
    *stack_pointer = hk_bench_stack_pointer();
    uint32_t total = 0;
    uint32_t before = hk_bench_ticks();
    for (uint32_t left = hk_bench_steps; left != 0;) {
        const uint32_t count = left < STEPS_PER_READING ? left : STEPS_PER_READING;
        for (uint32_t i = count; i != 0; i--) {
            BEFORE_STEP();
            hk_engine_step(&engine, in, out);
            in += HK_ENGINE_INPUT_BYTES;
            out += HK_ENGINE_OUTPUT_BYTES;
        }
        left -= count;
        const uint32_t now = hk_bench_ticks();
        total += (now - before) & hk_bench_tick_mask;
        before = now;
    }
    return total;
}

void hk_bench_main(void)
{
    uintptr_t stack_pointer;
    uint32_t before = hk_bench_ticks();
    hk_bench_spin(SPIN_ROUNDS);
    const uint32_t spin_ticks = (hk_bench_ticks() - before) & hk_bench_tick_mask;
    hk_engine_reset(&engine);
    for (volatile uint32_t *word = hk_stack_bottom; (uintptr_t)word + 64 < (uintptr_t)__builtin_frame_address(0); word++) {
        *word = PAINT;
    }
    const uint32_t step_ticks = run_steps(&stack_pointer);
    const uint32_t *deepest = hk_stack_bottom;
    while (*deepest == PAINT) {
        deepest++;
    }
    const uint32_t figures[4] = {
        2 * SPIN_ROUNDS,
        spin_ticks,
        step_ticks,
        (uint32_t)(stack_pointer - (uintptr_t)deepest),
    };
    write_file("figures.bin", sizeof "figures.bin" - 1, figures, sizeof figures);
    write_file("outputs.bin", sizeof "outputs.bin" - 1, hk_bench_outputs, hk_bench_steps * HK_ENGINE_OUTPUT_BYTES);
#ifdef HK_BENCH_OPERATORS
    write_file("split.bin", sizeof "split.bin" - 1, split_ticks, sizeof split_ticks);
#endif
    hk_bench_semihost(SYS_EXIT, (const void *)APPLICATION_EXIT);
}
