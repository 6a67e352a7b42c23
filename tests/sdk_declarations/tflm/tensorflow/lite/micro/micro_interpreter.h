/* tflite-micro 90b983c2. The tests give these methods bodies of their own. */
#ifndef HARKEN_DECLARATIONS_TFLM_INTERPRETER_H
#define HARKEN_DECLARATIONS_TFLM_INTERPRETER_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

class MicroInterpreter {
public:
    MicroInterpreter(const Model *model, const MicroOpResolver &op_resolver, uint8_t *tensor_arena,
                     size_t tensor_arena_size);
    ~MicroInterpreter();
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteTensor *input(size_t index);
    size_t inputs_size() const;
    TfLiteTensor *output(size_t index);
    size_t outputs_size() const;
    size_t arena_used_bytes() const;
};

} // namespace tflite

#endif
