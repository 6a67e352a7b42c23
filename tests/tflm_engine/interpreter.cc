/* An interpreter that runs the compiled trunk, so that hk_engine_tflm.cc can be run without TensorFlow Lite Micro.
 * It keeps the state tensors as TFLM's reference kernels do, or forgets them as CMSIS-NN's do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hk_model_tflm.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

extern "C" {
#include "hk_engine.h"

/* The compiled engine, whose names the build has changed. Its state begins as the TFLM engine's does. */
void compiled_engine_reset(void *engine);
void compiled_engine_step(void *engine, const int8_t *in, int8_t *out);
}

namespace {

constexpr size_t most_bytes = 16384;
uint8_t features[HK_ENGINE_INPUT_BYTES];
uint8_t answer[HK_ENGINE_OUTPUT_BYTES];
uint8_t states[hk_tflm_state_count][512];
alignas(8) uint8_t working[most_bytes];
TfLiteTensor inputs[1 + hk_tflm_state_count];
TfLiteTensor outputs[1];
bool is_forgetful;
bool is_arena_short;

} // namespace

namespace tflite {

const Model *GetModel(const void *buffer) { return static_cast<const Model *>(buffer); }
uint32_t Model::version() const { return TFLITE_SCHEMA_VERSION; }

MicroInterpreter::MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t) {}
MicroInterpreter::~MicroInterpreter() {}

TfLiteStatus MicroInterpreter::AllocateTensors()
{
    inputs[0].data.data = features;
    inputs[0].bytes = sizeof features;
    for (size_t i = 0; i < hk_tflm_state_count; i++) {
        inputs[1 + i].data.data = states[i];
        inputs[1 + i].bytes = hk_tflm_states[i].byte_count;
    }
    outputs[0].data.data = answer;
    outputs[0].bytes = sizeof answer;
    return is_arena_short ? kTfLiteError : kTfLiteOk;
}

TfLiteStatus MicroInterpreter::Invoke()
{
    compiled_engine_reset(working);
    for (size_t i = 0; i < hk_tflm_state_count && !is_forgetful; i++) {
        memcpy(working + hk_tflm_states[i].offset, states[i], hk_tflm_states[i].byte_count);
    }
    compiled_engine_step(working, reinterpret_cast<int8_t *>(features), reinterpret_cast<int8_t *>(answer));
    for (size_t i = 0; i < hk_tflm_state_count && !is_forgetful; i++) {
        memcpy(states[i], working + hk_tflm_states[i].offset, hk_tflm_states[i].byte_count);
    }
    return kTfLiteOk;
}

TfLiteTensor *MicroInterpreter::input(size_t index) { return &inputs[index]; }
size_t MicroInterpreter::inputs_size() const { return 1 + hk_tflm_state_count; }
TfLiteTensor *MicroInterpreter::output(size_t index) { return &outputs[index]; }
size_t MicroInterpreter::outputs_size() const { return 1; }

} // namespace tflite

/* usage: engine keeps|forgets|short STEPS: reads features from stdin, writes the answers of one engine to stdout while
 * another takes turns with it; its exit status is that of hk_engine_open, negated. */
int main(int argc, char **argv)
{
    if (argc != 3) {
        return 100;
    }
    is_forgetful = strcmp(argv[1], "forgets") == 0;
    is_arena_short = strcmp(argv[1], "short") == 0;
    const int status = hk_engine_open();
    if (status != 0) {
        return -status;
    }
    static hk_engine_t engine, other;
    hk_engine_reset(&engine);
    hk_engine_reset(&other);
    for (int step = atoi(argv[2]); step > 0; step--) {
        int8_t in[HK_ENGINE_INPUT_BYTES], out[HK_ENGINE_OUTPUT_BYTES], ignored[HK_ENGINE_OUTPUT_BYTES];
        if (fread(in, 1, sizeof in, stdin) != sizeof in) {
            return 101;
        }
        hk_engine_step(&engine, in, out);
        memset(in, step, sizeof in);
        hk_engine_step(&other, in, ignored);
        fwrite(out, 1, sizeof out, stdout);
    }
    return 0;
}
