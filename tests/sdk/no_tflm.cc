/* In place of TensorFlow Lite Micro: an interpreter that takes no model, so that an image links and can be started. */
#include "tensorflow/lite/micro/micro_interpreter.h"

namespace tflite {

const Model *GetModel(const void *buffer) { return static_cast<const Model *>(buffer); }
uint32_t Model::version() const { return TFLITE_SCHEMA_VERSION; }
MicroInterpreter::MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t) {}
MicroInterpreter::~MicroInterpreter() {}
TfLiteStatus MicroInterpreter::AllocateTensors() { return kTfLiteError; }
TfLiteStatus MicroInterpreter::Invoke() { return kTfLiteError; }
TfLiteTensor *MicroInterpreter::input(size_t) { return nullptr; }
size_t MicroInterpreter::inputs_size() const { return 0; }
TfLiteTensor *MicroInterpreter::output(size_t) { return nullptr; }
size_t MicroInterpreter::outputs_size() const { return 0; }

} // namespace tflite

void operator delete(void *) noexcept {}
void operator delete(void *, unsigned int) noexcept {}
