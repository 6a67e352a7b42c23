/* Runs the exported cloud.c of an ESP-IDF project over a broker and a clock that obey this program.
 *
 * It reads commands, one a line, from stdin and writes what cloud.c does to stdout. Time stands still but for `wait`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud.h"
#include "esp_crt_bundle.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "hk_error.h"
#include "mqtt_client.h"
#include "settings.h"

enum { MOST_BYTES = 2048 };

static const char *broker;
static int64_t now_us;
static bool is_outbox_full;
static int next_id = 1;
static int held; /* how often the lock is taken */
static TaskFunction_t task;
static jmp_buf turn_end;
static esp_event_handler_t handler;
static hk_listener_t listener;

/* --- The SDK --- */

int64_t esp_timer_get_time(void) { return now_us; }
esp_err_t esp_crt_bundle_attach(void *conf) { return conf == NULL ? ESP_FAIL : ESP_OK; }
void esp_log_write(int level, const char *tag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("log %d %s: ", level, tag);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

SemaphoreHandle_t xSemaphoreCreateMutex(void) { return (SemaphoreHandle_t)&held; }
BaseType_t xSemaphoreTake(SemaphoreHandle_t lock, TickType_t ticks)
{
    (void)lock;
    (void)ticks;
    if (held++ != 0) {
        printf("deadlock\n");
        exit(1);
    }
    return pdTRUE;
}
BaseType_t xSemaphoreGive(SemaphoreHandle_t lock)
{
    (void)lock;
    held--;
    return pdTRUE;
}
BaseType_t xTaskCreate(TaskFunction_t code, const char *const name, const uint32_t stack, void *const context,
                       UBaseType_t priority, TaskHandle_t *const created)
{
    (void)name, (void)stack, (void)context, (void)priority, (void)created;
    task = code;
    return pdPASS;
}
void vTaskDelay(const TickType_t ticks)
{
    (void)ticks;
    longjmp(turn_end, 1);
}

static void check_unlocked(const char *call)
{
    if (held != 0) {
        printf("%s under the lock\n", call); /* esp-mqtt calls back under a lock of its own */
        exit(1);
    }
}

esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t *config)
{
    printf("client %s will %s retained %d clean %d limit %d\n", config->broker.address.uri,
           config->session.last_will.topic, config->session.last_will.retain, !config->session.disable_clean_session,
           config->outbox.limit > 0);
    return (esp_mqtt_client_handle_t)&held;
}
esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t event,
                                         esp_event_handler_t event_handler, void *argument)
{
    (void)client, (void)event, (void)argument;
    handler = event_handler;
    return ESP_OK;
}
esp_err_t esp_mqtt_client_start(esp_mqtt_client_handle_t client)
{
    (void)client;
    return ESP_OK;
}
esp_err_t esp_mqtt_client_disconnect(esp_mqtt_client_handle_t client)
{
    (void)client;
    return ESP_OK;
}
int esp_mqtt_client_subscribe_multiple(esp_mqtt_client_handle_t client, const esp_mqtt_topic_t *topics, int size)
{
    (void)client;
    check_unlocked("subscribe");
    for (int i = 0; i < size; i++) {
        printf("subscribe %s\n", topics[i].filter);
    }
    return 1;
}
int esp_mqtt_client_enqueue(esp_mqtt_client_handle_t client, const char *topic, const char *data, int length, int qos,
                            int is_retained, bool is_stored)
{
    (void)client, (void)data, (void)is_stored;
    check_unlocked("enqueue");
    if (is_outbox_full) {
        return -2;
    }
    printf("publish %d %s %d bytes qos %d retained %d\n", next_id, strrchr(topic, '/') + 1, length, qos, is_retained);
    return next_id++;
}

bool settings_get_text(const char *key, char *text, size_t capacity)
{
    if (strcmp(key, "broker") != 0 || broker == NULL) {
        return false;
    }
    snprintf(text, capacity, "%s", broker);
    return true;
}
size_t settings_get_bytes(const char *key, uint8_t *bytes, size_t capacity)
{
    (void)key, (void)bytes, (void)capacity;
    return 0;
}
bool settings_set_bytes(const char *key, const uint8_t *bytes, size_t length)
{
    (void)bytes;
    printf("saved %s %zu bytes\n", key, length);
    return true;
}

/* --- Commands --- */

static void raise_event(esp_mqtt_event_id_t id, esp_mqtt_event_t event)
{
    event.event_id = id;
    handler(NULL, "mqtt", id, &event);
}

static void deliver(char *topic, const char *hex)
{
    static char data[MOST_BYTES];
    int length = 0;
    for (unsigned value; length < MOST_BYTES && sscanf(hex, "%2x", &value) == 1; hex += 2) {
        data[length++] = (char)value;
    }
    raise_event(MQTT_EVENT_DATA, (esp_mqtt_event_t){.topic = topic, .topic_len = (int)strlen(topic), .data = data,
                                                    .data_len = length, .total_data_len = length});
}

static void hear(int steps)
{
    static int16_t pcm[HK_STEP_SAMPLES];
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    for (int i = 0; i < steps; i++) {
        (void)hk_listener_step(&listener, pcm, events);
        cloud_heard(&listener);
    }
}

static void put(int event, int first_id_byte)
{
    static const uint32_t words[1] = {0};
    static const uint8_t usable[1] = {0};
    hk_trigger_t trigger = {
        .event = (uint8_t)event,
        .trigger_sample = listener.samples_heard,
        .event_start_sample = listener.samples_heard,
        .head_version = 1,
        .sensitivity = HK_SENSITIVITY_NORMAL,
        .fingerprint = {.step_samples = HK_FINGERPRINT_WORD_SAMPLES, .words = words, .reliable = words, .usable = usable, .word_count = 1},
    };
    trigger.event_id[0] = (uint8_t)first_id_byte;
    printf("put %d clip %d\n", cloud_put(&trigger), trigger.clip);
}

int main(int argc, char **argv)
{
    static char line[2 * MOST_BYTES + 128], topic[128], hex[2 * MOST_BYTES + 1];
    int a, b;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    broker = argc > 1 ? argv[1] : NULL;
    if (hk_listener_init(&listener) != 0) {
        return 2;
    }
    const int status = cloud_start("harken-1", "esp32", "0.1.0");
    printf("start %d\n", status);
    while (status == 0 && fgets(line, sizeof line, stdin) != NULL) {
        hk_config_t config;
        if (strcmp(line, "turn\n") == 0) {
            if (setjmp(turn_end) == 0) {
                task(NULL);
            }
        } else if (strcmp(line, "connect\n") == 0) {
            raise_event(MQTT_EVENT_CONNECTED, (esp_mqtt_event_t){0});
        } else if (strcmp(line, "disconnect\n") == 0) {
            raise_event(MQTT_EVENT_DISCONNECTED, (esp_mqtt_event_t){0});
        } else if (strcmp(line, "config?\n") == 0) {
            printf("config %d\n", cloud_take_config(&config));
        } else if (sscanf(line, "full %d", &a) == 1) {
            is_outbox_full = a != 0;
        } else if (sscanf(line, "puback %d", &a) == 1) {
            raise_event(MQTT_EVENT_PUBLISHED, (esp_mqtt_event_t){.msg_id = a});
        } else if (sscanf(line, "wait %d", &a) == 1) {
            now_us += (int64_t)a * 1000;
        } else if (sscanf(line, "hear %d", &a) == 1) {
            hear(a);
        } else if (sscanf(line, "put %d %d", &a, &b) == 2) {
            put(a, b);
        } else if (sscanf(line, "message %127s %4096s", topic, hex) == 2) {
            deliver(topic, hex);
        } else {
            return 3;
        }
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
