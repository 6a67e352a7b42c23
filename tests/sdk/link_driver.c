/* Runs the exported link.c, identity.c and settings.c of an ESP-IDF project: the console's port is stdin and stdout, NVS a
 * folder of files, each a key's value, which is written beside and renamed as NVS commits. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/uart.h"
#include "esp_log.h"
#include "esp_mac.h"
#include "esp_partition.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "identity.h"
#include "link.h"
#include "nvs.h"
#include "nvs_flash.h"
#include "settings.h"
#include "updates.h"

enum { PATH_BYTES = 512 };

static const char *folder;
static int held;

/* --- NVS --- */

esp_err_t nvs_flash_init(void) { return ESP_OK; }
esp_err_t nvs_flash_erase(void) { return ESP_OK; }
esp_err_t nvs_flash_init_partition(const char *label) { return strcmp(label, "settings") == 0 ? ESP_OK : ESP_FAIL; }
esp_err_t nvs_open_from_partition(const char *label, const char *name, nvs_open_mode_t mode, nvs_handle_t *handle)
{
    *handle = 7;
    return strcmp(label, "settings") == 0 && strcmp(name, "harken") == 0 && mode == NVS_READWRITE ? ESP_OK : ESP_FAIL;
}
esp_err_t nvs_get_blob(nvs_handle_t handle, const char *key, void *value, size_t *length)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, key);
    FILE *file = handle == 7 ? fopen(path, "rb") : NULL;
    if (file == NULL) {
        return ESP_FAIL;
    }
    *length = fread(value, 1, *length, file);
    return fclose(file) == 0 ? ESP_OK : ESP_FAIL;
}
esp_err_t nvs_set_blob(nvs_handle_t handle, const char *key, const void *value, size_t length)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, key);
    FILE *file = handle == 7 ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        return ESP_FAIL;
    }
    const size_t written = fwrite(value, 1, length, file);
    return fclose(file) == 0 && written == length ? ESP_OK : ESP_FAIL;
}
esp_err_t nvs_get_str(nvs_handle_t handle, const char *key, char *value, size_t *length)
{
    (void)handle, (void)key, (void)value, (void)length;
    return ESP_FAIL;
}
esp_err_t nvs_set_str(nvs_handle_t handle, const char *key, const char *value)
{
    (void)handle, (void)key, (void)value;
    return ESP_FAIL;
}
esp_err_t nvs_commit(nvs_handle_t handle) { return handle == 7 ? ESP_OK : ESP_FAIL; }

/* --- The rest of the SDK --- */

const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype,
                                                const char *label)
{
    (void)type, (void)subtype, (void)label;
    return NULL; /* no place for known media: the device goes on without */
}
esp_err_t esp_partition_mmap(const esp_partition_t *partition, size_t offset, size_t size,
                             esp_partition_mmap_memory_t memory, const void **out, esp_partition_mmap_handle_t *handle)
{
    (void)partition, (void)offset, (void)size, (void)memory, (void)out, (void)handle;
    return ESP_FAIL;
}
esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size)
{
    (void)partition, (void)offset, (void)size;
    return ESP_FAIL;
}
esp_err_t esp_partition_write(const esp_partition_t *partition, size_t offset, const void *source, size_t size)
{
    (void)partition, (void)offset, (void)source, (void)size;
    return ESP_FAIL;
}
esp_err_t esp_read_mac(uint8_t *mac, esp_mac_type_t type)
{
    (void)type;
    memcpy(mac, "\x24\x0a\xc4\x00\x01\x02", 6);
    return ESP_OK;
}
void esp_log_level_set(const char *tag, esp_log_level_t level) { (void)tag, (void)level; }
void esp_log_write(int level, const char *tag, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)level;
    fprintf(stderr, "%s: ", tag);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
}
_Noreturn void _esp_error_check_failed(esp_err_t rc, const char *file, int line, const char *function,
                                       const char *expression)
{
    fprintf(stderr, "%s:%d %s: %s is %d\n", file, line, function, expression, rc);
    exit(1);
}
SemaphoreHandle_t xSemaphoreCreateMutex(void) { return (SemaphoreHandle_t)&held; }
BaseType_t xSemaphoreTake(SemaphoreHandle_t lock, TickType_t ticks)
{
    (void)lock, (void)ticks;
    if (held++ != 0) {
        fputs("deadlock\n", stderr);
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
    (void)name, (void)stack, (void)priority, (void)created;
    code(context); /* which ends with the program */
    return pdPASS;
}

esp_err_t uart_driver_install(uart_port_t port, int rx_bytes, int tx_bytes, int queue_size, QueueHandle_t *queue, int flags)
{
    (void)port, (void)rx_bytes, (void)tx_bytes, (void)queue_size, (void)queue, (void)flags;
    return ESP_OK;
}
int uart_read_bytes(uart_port_t port, void *bytes, uint32_t length, TickType_t ticks)
{
    (void)port;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, (int)ticks) <= 0) {
        return 0;
    }
    const ssize_t n = read(STDIN_FILENO, bytes, length);
    if (n <= 0) {
        exit(0); /* the plug is pulled */
    }
    return (int)n;
}
int uart_write_bytes(uart_port_t port, const void *bytes, size_t n)
{
    (void)port;
    return (int)write(STDOUT_FILENO, bytes, n);
}

void updates_key_changed(void) {}

int main(int argc, char **argv)
{
    char broker[128], ssid[HK_SSID_MAX_CHARS + 1], password[HK_WIFI_PASSWORD_MAX_CHARS + 1];
    const char *authority = "", *certificate = "", *key = "";
    if (argc != 2) {
        return 2;
    }
    folder = argv[1];
    settings_open();
    identity_open();
    fprintf(stderr, "id %s\n", identity_device_id());
    if (identity_broker(broker, sizeof broker)) {
        fprintf(stderr, "broker %s\n", broker);
    }
    if (identity_wifi(ssid, password)) {
        fprintf(stderr, "wifi %s %s\n", ssid, password);
    }
    if (identity_credentials(&authority, &certificate, &key)) {
        fprintf(stderr, "tls %zu %zu %zu\n", strlen(authority), strlen(certificate), strlen(key));
    }
    fprintf(stderr, "ready\n");
    link_start("esp32", "0.1.0");
    return 0;
}
