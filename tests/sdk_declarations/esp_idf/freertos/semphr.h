/* ESP-IDF 5.5: FreeRTOS mutexes. */
#ifndef HARKEN_DECLARATIONS_FREERTOS_SEMPHR_H
#define HARKEN_DECLARATIONS_FREERTOS_SEMPHR_H

#include "freertos/FreeRTOS.h"

typedef struct QueueDefinition *SemaphoreHandle_t;

SemaphoreHandle_t xSemaphoreCreateMutex(void);
BaseType_t xSemaphoreTake(SemaphoreHandle_t xSemaphore, TickType_t xTicksToWait);
BaseType_t xSemaphoreGive(SemaphoreHandle_t xSemaphore);

#endif
