#include "hk_step.h"

#include <string.h>

size_t hk_step_take(hk_step_t *step, const int16_t *pcm, size_t n)
{
    const size_t room = hk_step_room(step);
    const size_t taken = n < room ? n : room;
    memcpy(step->pcm + step->fill, pcm, taken * sizeof *pcm);
    step->fill = (uint16_t)(step->fill + taken);
    return taken;
}
