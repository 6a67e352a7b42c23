#include "hk_files.h"

#include <stdbool.h>
#include <string.h>

#include "hk_error.h"

enum { PATH_BYTES = 160, SUFFIX_BYTES = 8 };

static int microphone = -1;
static const char *settings_path;

int hk_files_hear(const char *path) {
    microphone = hk_board_file_open(path, HK_BOARD_FILE_READ);
    return microphone < 0 ? -1 : 0;
}

void hk_files_keep_settings(const char *path) { settings_path = path; }

bool hk_files_keeps_settings(void) { return settings_path != NULL; }

size_t hk_files_microphone_read(void *context, int16_t *pcm, size_t n) {
    (void)context;
    static uint8_t odd_byte;
    static size_t held;
    if (microphone < 0 || n == 0) {
        return 0;
    }
    /* The file grows while it is read, so a read may end in the middle of a sample: the byte waits for its other half. */
    uint8_t *bytes = (uint8_t *)pcm;
    bytes[0] = odd_byte;
    const size_t total = held + hk_board_file_read(microphone, bytes + held, n * sizeof *pcm - held);
    held = total & 1u;
    if (held != 0) {
        odd_byte = bytes[total - 1];
    }
    return total / sizeof *pcm;
}

static const char record_suffixes[HK_PORT_RECORDS][SUFFIX_BYTES] = {"", ".vault0", ".vault1"};
static const char update_suffixes[HK_PORT_UPDATE_AREAS][SUFFIX_BYTES] = {".flash0", ".flash1", ".flash2", ".flash3"};

/* The file beside the settings; false where none is kept, or its name is too long. */
static bool name_file(char path[PATH_BYTES], const char suffix[SUFFIX_BYTES]) {
    const size_t n = settings_path == NULL ? PATH_BYTES : strlen(settings_path);
    if (n + SUFFIX_BYTES > PATH_BYTES) {
        return false;
    }
    memcpy(path, settings_path, n);
    memcpy(path + n, suffix, SUFFIX_BYTES);
    return true;
}

size_t hk_files_settings_load(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity) {
    (void)context;
    char path[PATH_BYTES];
    const int file = name_file(path, record_suffixes[record]) ? hk_board_file_open(path, HK_BOARD_FILE_READ) : -1;
    if (file < 0) {
        return 0; /* never saved */
    }
    const size_t n = hk_board_file_read(file, bytes, capacity);
    hk_board_file_close(file);
    return n;
}

int hk_files_settings_save(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n) {
    (void)context;
    char path[PATH_BYTES];
    if (settings_path == NULL) {
        return record == HK_PORT_CHOICES ? 0 : HK_ERROR_REFUSED;
    }
    const int file = name_file(path, record_suffixes[record]) ? hk_board_file_open(path, HK_BOARD_FILE_WRITE) : -1;
    if (file < 0) {
        return HK_ERROR_TRANSPORT;
    }
    const int status = hk_board_file_write(file, bytes, n);
    hk_board_file_close(file);
    return status == 0 ? 0 : HK_ERROR_TRANSPORT;
}

void hk_files_update_load(unsigned area, uint8_t *bytes, size_t n) {
    char path[PATH_BYTES];
    const int file = name_file(path, update_suffixes[area]) ? hk_board_file_open(path, HK_BOARD_FILE_READ) : -1;
    if (file >= 0) {
        (void)hk_board_file_read(file, bytes, n);
        hk_board_file_close(file);
    }
}

int hk_files_update_save(unsigned area, const uint8_t *bytes, size_t n) {
    char path[PATH_BYTES];
    if (settings_path == NULL) {
        return 0; /* it lasts as long as the device runs */
    }
    const int file = name_file(path, update_suffixes[area]) ? hk_board_file_open(path, HK_BOARD_FILE_WRITE) : -1;
    if (file < 0) {
        return -1;
    }
    const int status = hk_board_file_write(file, bytes, n);
    hk_board_file_close(file);
    return status;
}
