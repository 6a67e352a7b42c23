/* The trunk run by TensorFlow Lite Micro: for projects of an SDK that brings TFLM.
 *
 * The recurrent state lies in hk_engine_t alone. It is written into TFLM's variable tensors before a step and read back
 * after it, so several engines may take turns, and nothing that a kernel library keeps or forgets in between can change
 * an answer. The interpreter and its arena are shared: all steps belong to one thread.
 *
 * Nothing is allocated after hk_engine_open(): the arena is static, its size computed by firmware_gen for the target. */
#include <string.h>

#include "hk_model_tflm.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

extern "C" {
#include "hk_engine.h"
#include "hk_error.h"
}

namespace {

alignas(16) uint8_t arena[hk_tflm_arena_bytes];
tflite::MicroInterpreter *interpreter; /* null until it is ready for steps */

/* Makes the one interpreter. Returns 0 or why it cannot be. */
int make_interpreter(tflite::MicroInterpreter *&made)
{
    const tflite::Model *model = tflite::GetModel(hk_tflm_model);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        return HK_ERROR_VERSION;
    }
    static hk_tflm_resolver_t resolver;
    if (hk_tflm_add_operators(resolver) != kTfLiteOk) {
        return HK_ERROR_STATE;
    }
    static tflite::MicroInterpreter instance(model, resolver, arena, sizeof arena);
    if (instance.AllocateTensors() != kTfLiteOk) {
        return HK_ERROR_CAPACITY; /* a TFLM of another version, which needs more than the arena has */
    }
    made = &instance;
    return 0;
}

/* Whether a tensor is there and as large as the generator says. */
bool is_of(const TfLiteTensor *tensor, size_t byte_count) { return tensor != nullptr && tensor->bytes == byte_count; }

bool has_expected_tensors(tflite::MicroInterpreter &candidate)
{
    if (candidate.inputs_size() != 1 + hk_tflm_state_count || candidate.outputs_size() != 1
        || !is_of(candidate.input(0), HK_ENGINE_INPUT_BYTES) || !is_of(candidate.output(0), HK_ENGINE_OUTPUT_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < hk_tflm_state_count; i++) {
        if (!is_of(candidate.input(1 + i), hk_tflm_states[i].byte_count)) {
            return false;
        }
    }
    return true;
}

/* Whether this kernel library answers as the reference does, state and all. */
bool answers_as_the_reference(void)
{
    static hk_engine_t engine;
    int8_t features[HK_ENGINE_INPUT_BYTES];
    int8_t answer[HK_ENGINE_OUTPUT_BYTES];
    uint32_t state = 1;
    hk_engine_reset(&engine);
    for (uint32_t step = 0; step < hk_tflm_check_steps; step++) {
        for (int8_t &feature : features) {
            state = state * 1664525u + 1013904223u;
            feature = static_cast<int8_t>(static_cast<int>(state >> 24) - 128);
        }
        hk_engine_step(&engine, features, answer);
    }
    return memcmp(answer, hk_tflm_check_answer, sizeof answer) == 0;
}

} // namespace

extern "C" int hk_engine_open(void)
{
    if (interpreter != nullptr) {
        return 0;
    }
    tflite::MicroInterpreter *made = nullptr;
    const int status = make_interpreter(made);
    if (status != 0) {
        return status;
    }
    if (!has_expected_tensors(*made)) {
        return HK_ERROR_FORMAT;
    }
    interpreter = made;
    if (!answers_as_the_reference()) {
        interpreter = nullptr;
        return HK_ERROR_MISMATCH;
    }
    return 0;
}

extern "C" void hk_engine_reset(hk_engine_t *engine)
{
    for (size_t i = 0; i < hk_tflm_state_count; i++) {
        const hk_tflm_state_t &state = hk_tflm_states[i];
        memset(engine->bytes + state.offset, state.reset_byte, state.byte_count);
    }
}

extern "C" void hk_engine_step(hk_engine_t *engine, const int8_t *in, int8_t *out)
{
    if (interpreter == nullptr) {
        memset(out, HK_ENGINE_OUTPUT_ZERO_POINT, HK_ENGINE_OUTPUT_BYTES);
        return;
    }
    memcpy(interpreter->input(0)->data.data, in, HK_ENGINE_INPUT_BYTES);
    for (size_t i = 0; i < hk_tflm_state_count; i++) {
        const hk_tflm_state_t &state = hk_tflm_states[i];
        memcpy(interpreter->input(1 + i)->data.data, engine->bytes + state.offset, state.byte_count);
    }
    if (interpreter->Invoke() != kTfLiteOk) {
        memset(out, HK_ENGINE_OUTPUT_ZERO_POINT, HK_ENGINE_OUTPUT_BYTES);
        return;
    }
    memcpy(out, interpreter->output(0)->data.data, HK_ENGINE_OUTPUT_BYTES);
    for (size_t i = 0; i < hk_tflm_state_count; i++) {
        const hk_tflm_state_t &state = hk_tflm_states[i];
        memcpy(engine->bytes + state.offset, interpreter->input(1 + i)->data.data, state.byte_count);
    }
}
