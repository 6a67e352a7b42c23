/* Runs the exported cloud.c of an ESP-IDF project over a broker and a clock that obey this program.
 *
 * It reads commands, one a line, from stdin and writes what cloud.c does to stdout. Time stands still but for `wait`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud.h"
#include "driver/gpio.h"
#include "esp_crt_bundle.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "hk_error.h"
#include "hk_port.h"
#include "identity.h"
#include "media.h"
#include "mqtt_client.h"
#include "outputs.h"
#include "settings.h"
#include "updates.h"

enum { MOST_BYTES = 2048 };

static const char *broker;
static FILE *sound;
static int64_t now_us;
static bool is_outbox_full;
static int next_id = 1;
static int held[4]; /* how often each lock is taken */
static int locks;
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

SemaphoreHandle_t xSemaphoreCreateMutex(void) { return (SemaphoreHandle_t)&held[locks++]; }
BaseType_t xSemaphoreTake(SemaphoreHandle_t lock, TickType_t ticks)
{
    (void)ticks;
    if ((*(int *)lock)++ != 0) {
        printf("deadlock\n");
        exit(1);
    }
    return pdTRUE;
}
BaseType_t xSemaphoreGive(SemaphoreHandle_t lock)
{
    --*(int *)lock;
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
    if (held[0] != 0 || held[1] != 0) {
        printf("%s under a lock\n", call); /* esp-mqtt calls back under a lock of its own */
        exit(1);
    }
}

esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t *config)
{
    if (config->broker.verification.certificate != NULL) {
        printf("shows %s, trusts %s\n", config->credentials.authentication.certificate,
               config->broker.verification.certificate);
    }
    printf("client %s will %s retained %d clean %d limit %d\n", config->broker.address.uri,
           config->session.last_will.topic, config->session.last_will.retain, !config->session.disable_clean_session,
           config->outbox.limit > 0);
    return (esp_mqtt_client_handle_t)held;
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

/* --- What was provisioned: the program's arguments say it --- */

static bool is_of_fleet;

_Noreturn void _esp_error_check_failed(esp_err_t rc, const char *file, int line, const char *function,
                                       const char *expression)
{
    printf("%s:%d %s: %s is %d\n", file, line, function, expression, rc);
    exit(1);
}

bool identity_broker(char *uri, size_t capacity)
{
    return is_of_fleet && snprintf(uri, capacity, "mqtts://broker.example.org:8883") > 0;
}
bool identity_credentials(const char **authority, const char **certificate, const char **key)
{
    *authority = is_of_fleet ? "CA" : NULL;
    *certificate = is_of_fleet ? "CERT" : NULL;
    *key = is_of_fleet ? "KEY" : NULL;
    return is_of_fleet;
}

/* --- Updates: what main.c and the rest of the device do of them is not here --- */

static bool is_installed; /* whether there is something to tell */

bool updates_allow_media(void *context, const uint8_t *seal)
{
    (void)context, (void)seal;
    return true;
}
void updates_media_used(const uint8_t *seal) { (void)seal; }
void updates_take(const hk_update_piece_t *piece) { printf("update piece at %u of %u\n", piece->offset, piece->total); }
size_t updates_encode(uint8_t *out, size_t capacity)
{
    const hk_installed_t nothing = {0};
    size_t length = 0;
    return is_installed && hk_message_encode_installed(&nothing, out, capacity, &length) == 0 ? length : 0;
}

/* --- Flash for known media --- */

static _Alignas(4) uint8_t areas[HK_PORT_MEDIA_AREAS * HK_MEDIA_SET_MAX_BYTES];

static int erase_media(void *context, unsigned area)
{
    (void)context;
    memset(areas + area * (size_t)HK_MEDIA_SET_MAX_BYTES, 0xff, HK_MEDIA_SET_MAX_BYTES);
    return 0;
}
static int write_media(void *context, size_t at, const uint8_t *bytes, size_t n)
{
    (void)context;
    if (held[0] != 0 && held[1] != 0) {
        printf("flash is written under the cloud's lock\n");
        exit(1);
    }
    memcpy(areas + at, bytes, n);
    return 0;
}
static const hk_port_t media_port = {
    .board = "esp32", .media_areas = areas, .media_erase = erase_media, .media_write = write_media};
const hk_port_t *settings_port(void) { return &media_port; }

/* --- Pins --- */

esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode)
{
    printf("pin %d mode %d\n", (int)gpio_num, (int)mode);
    return ESP_OK;
}
esp_err_t gpio_set_level(gpio_num_t gpio_num, uint32_t level)
{
    printf("pin %d level %d\n", (int)gpio_num, (int)level);
    return ESP_OK;
}

/* --- Commands --- */

static const uint8_t boot_id[HK_BOOT_ID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
static bool is_armed;

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

/* Hears the file of the program's second argument, over and over; silence without one. */
static void hear(int steps)
{
    static int16_t pcm[HK_STEP_SAMPLES];
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    for (int i = 0; i < steps; i++) {
        if (sound != NULL && fread(pcm, sizeof pcm, 1, sound) != 1) {
            rewind(sound);
            (void)!fread(pcm, sizeof pcm, 1, sound);
        }
        (void)hk_listener_step(&listener, pcm, events);
        cloud_heard(&listener);
    }
}

/* As main.c tells a trigger: known media are asked first. */
static void put(int event, int first_id_byte)
{
    const hk_listener_words_t latest = hk_listener_fingerprint(&listener);
    hk_media_hint_t hint;
    if (media_dismisses((uint8_t)event, &latest, listener.samples_heard, &hint)) {
        cloud_tell_media();
        printf("dismissed\n");
        return;
    }
    hk_trigger_t trigger = {
        .event = (uint8_t)event,
        .trigger_sample = listener.samples_heard,
        .event_start_sample = listener.samples_heard,
        .head_version = 1,
        .sensitivity = HK_SENSITIVITY_NORMAL,
        .is_armed = is_armed,
        .fingerprint =
            {
                .first_sample = latest.first_sample,
                .step_samples = HK_FINGERPRINT_WORD_SAMPLES,
                .words = latest.words,
                .reliable = latest.reliable,
                .usable = latest.usable,
                .word_count = latest.count,
            },
        .media = hint,
    };
    if (first_id_byte == 0) {
        hk_event_id_make(trigger.event_id, boot_id, 0, "harken-1");
    }
    trigger.event_id[0] = first_id_byte == 0 ? boot_id[0] : (uint8_t)first_id_byte;
    printf("put %d clip %d%s\n", cloud_put(&trigger), trigger.clip, hint.is_set ? " hinted" : "");
}

int main(int argc, char **argv)
{
    static char line[2 * MOST_BYTES + 128], topic[128], hex[2 * MOST_BYTES + 1];
    int a, b;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    is_of_fleet = argc > 1 && strcmp(argv[1], "fleet") == 0;
    broker = argc > 1 && argv[1][0] != '\0' && !is_of_fleet ? argv[1] : NULL;
    sound = argc > 2 ? fopen(argv[2], "rb") : NULL;
    if (hk_listener_init(&listener) != 0) {
        return 2;
    }
    media_start();
    outputs_start();
    const int status = cloud_start("harken-1", boot_id, "esp32", "0.1.0");
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
        } else if (sscanf(line, "armed %d", &a) == 1) {
            is_armed = a != 0;
            cloud_set_armed(is_armed);
        } else if (strcmp(line, "installed\n") == 0) {
            is_installed = true;
            cloud_tell_installed();
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
