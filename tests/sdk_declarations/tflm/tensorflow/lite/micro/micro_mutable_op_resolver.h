/* tflite-micro 90b983c2: one method for each operator that Harken's generator can register. */
#ifndef HARKEN_DECLARATIONS_TFLM_RESOLVER_H
#define HARKEN_DECLARATIONS_TFLM_RESOLVER_H

#include "tensorflow/lite/micro/micro_common_declarations.h"

namespace tflite {

class MicroOpResolver {
public:
    virtual ~MicroOpResolver() {}
};

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
public:
    TfLiteStatus AddConcatenation() { return add(); }
    TfLiteStatus AddFullyConnected() { return add(); }
    TfLiteStatus AddLogistic() { return add(); }
    TfLiteStatus AddQuantize() { return add(); }
    TfLiteStatus AddReshape() { return add(); }
    TfLiteStatus AddUnidirectionalSequenceLSTM() { return add(); }

private:
    TfLiteStatus add() { return count_++ < tOpCount ? kTfLiteOk : kTfLiteError; }
    unsigned int count_ = 0;
};

} // namespace tflite

#endif
