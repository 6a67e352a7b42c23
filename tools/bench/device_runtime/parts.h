/* The parts that a step of the device's audio path is split into.
 *
 * The image is linked from the device image's own objects. The linker's --wrap sends each call from one of them to
 * another's function through wrap.c, which looks at the clock before and after; nothing is compiled otherwise. */
#ifndef HK_BENCH_PARTS_H
#define HK_BENCH_PARTS_H

#include <stdint.h>

typedef enum {
    HK_BENCH_OTHER = 0, /* what no other part is: the listener itself */
    HK_BENCH_CLIP_RING,
    HK_BENCH_FRONT_END,
    HK_BENCH_FINGERPRINT,
    HK_BENCH_ENGINE,
    HK_BENCH_HEADS,
    HK_BENCH_TRACKER,
    HK_BENCH_CADENCE_HISTORY,
    HK_BENCH_CADENCE_ANALYSIS,
    HK_BENCH_NOTHING, /* calls that do nothing, to see what looking costs */
    HK_BENCH_PARTS,
} hk_bench_part_t;

/* Separated by spaces, in the order of hk_bench_part_t. */
#define HK_BENCH_PART_NAMES                                                                                            \
    "other clip_ring front_end fingerprint engine heads tracker cadence_history cadence_analysis nothing"

/* What became of a part since hk_bench_parts_restart. ticks: without those of the parts that it called.
 * calls: of it. nested: by it, of other parts. */
typedef struct {
    uint32_t ticks[HK_BENCH_PARTS];
    uint32_t calls[HK_BENCH_PARTS];
    uint32_t nested[HK_BENCH_PARTS];
} hk_bench_parts_t;

extern hk_bench_parts_t hk_bench_parts;

/* All zero, and time counts as HK_BENCH_OTHER's from now on. */
void hk_bench_parts_restart(void);

/* Time counts as `part`'s from now on. Returns the part that it counted as before, for hk_bench_leave. */
hk_bench_part_t hk_bench_enter(hk_bench_part_t part);
void hk_bench_leave(hk_bench_part_t caller);

/* Does nothing, and counts as HK_BENCH_NOTHING where the image is split. */
void hk_bench_nothing(const void *a, const void *b, const void *c);

#endif
