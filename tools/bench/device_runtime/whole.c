/* In place of wrap.c where a step is counted as a whole: no call is looked at. */
#include "parts.h"

hk_bench_parts_t hk_bench_parts;

void hk_bench_parts_restart(void)
{
}
