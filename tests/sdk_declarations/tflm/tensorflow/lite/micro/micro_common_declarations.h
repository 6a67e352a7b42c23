/* The C types that MicroInterpreter hands out: tflite-micro 90b983c2. */
#ifndef HARKEN_DECLARATIONS_TFLM_COMMON_H
#define HARKEN_DECLARATIONS_TFLM_COMMON_H

#include <stddef.h>
#include <stdint.h>

typedef enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;

typedef union TfLitePtrUnion {
    int8_t *int8;
    void *data;
} TfLitePtrUnion;

typedef struct TfLiteTensor {
    TfLitePtrUnion data;
    size_t bytes;
} TfLiteTensor;

#endif
