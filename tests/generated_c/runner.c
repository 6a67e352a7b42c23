/* Runs a generated engine on a file of inputs, every buffer exactly as large as it says, so that sanitizers see an
 * access beyond it. Usage: runner inputs outputs */
#include <stdio.h>
#include <stdlib.h>

#include "hk_engine.h"

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    FILE *inputs = fopen(argv[1], "rb");
    FILE *outputs = fopen(argv[2], "wb");
    hk_engine_t *engine = aligned_alloc(_Alignof(hk_engine_t), sizeof *engine);
    int8_t *in = malloc(HK_ENGINE_INPUT_BYTES);
    int8_t *out = malloc(HK_ENGINE_OUTPUT_BYTES);
    if (inputs == NULL || outputs == NULL || engine == NULL || in == NULL || out == NULL) {
        return 2;
    }
    hk_engine_reset(engine);
    while (fread(in, HK_ENGINE_INPUT_BYTES, 1, inputs) == 1) {
        hk_engine_step(engine, in, out);
        if (fwrite(out, HK_ENGINE_OUTPUT_BYTES, 1, outputs) != 1) {
            return 2;
        }
    }
    free(out);
    free(in);
    free(engine);
    return fclose(outputs) == 0 && fclose(inputs) == 0 ? 0 : 2;
}
