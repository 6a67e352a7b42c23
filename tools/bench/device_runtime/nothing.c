#include "parts.h"

/* In a file of its own, so that it is called as the parts' functions are. */
void hk_bench_nothing(const void *a, const void *b, const void *c)
{
    (void)a;
    (void)b;
    (void)c;
}
