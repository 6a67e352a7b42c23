/* tflite-micro 90b983c2: the model as its flatbuffer has it. */
#ifndef HARKEN_DECLARATIONS_TFLM_SCHEMA_H
#define HARKEN_DECLARATIONS_TFLM_SCHEMA_H

#include <stdint.h>

namespace tflite {

struct Model {
    uint32_t version() const;
};

const Model *GetModel(const void *buffer);

} // namespace tflite

#endif
