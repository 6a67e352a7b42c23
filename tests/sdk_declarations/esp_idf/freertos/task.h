/* ESP-IDF 5.5: FreeRTOS tasks; the stack is counted in bytes. */
#ifndef HARKEN_DECLARATIONS_FREERTOS_TASK_H
#define HARKEN_DECLARATIONS_FREERTOS_TASK_H

#include "freertos/FreeRTOS.h"

typedef struct tskTaskControlBlock *TaskHandle_t;
typedef void (*TaskFunction_t)(void *);

BaseType_t xTaskCreate(TaskFunction_t pxTaskCode, const char *const pcName, const uint32_t usStackDepth,
                       void *const pvParameters, UBaseType_t uxPriority, TaskHandle_t *const pxCreatedTask);
void vTaskDelay(const TickType_t xTicksToDelay);

#endif
