/* Counts instructions on emulated cores.
 *
 * With `-icount shift=0` the emulator's clock advances 1 ns an instruction. Cores whose timer counts slower than that
 * tell how many instructions a tick is by a loop of known length. */
#ifndef HK_BENCH_CLOCK_H
#define HK_BENCH_CLOCK_H

#include <stdint.h>

/* Starts the clock, without interrupts. */
void hk_bench_clock_start(void);

/* Time since some start, in a unit of the core's own; only the bits of the mask count. */
uint32_t hk_bench_ticks(void);
extern const uint32_t hk_bench_tick_mask;

/* Exactly 2 * `rounds` instructions, and a few around them. */
void hk_bench_spin(uint32_t rounds);

#endif
