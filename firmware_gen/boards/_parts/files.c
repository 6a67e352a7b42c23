#include "hk_error.h"
#include "hk_files.h"
#include "hk_port.h"

static int microphone = -1;
static const char *settings_path;

int hk_files_hear(const char *path) {
    microphone = hk_board_file_open(path, HK_BOARD_FILE_READ);
    return microphone < 0 ? -1 : 0;
}

void hk_files_keep_settings(const char *path) { settings_path = path; }

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

size_t hk_files_settings_load(void *context, uint8_t *bytes, size_t capacity) {
    (void)context;
    const int file = settings_path == NULL ? -1 : hk_board_file_open(settings_path, HK_BOARD_FILE_READ);
    if (file < 0) {
        return 0; /* never saved */
    }
    const size_t n = hk_board_file_read(file, bytes, capacity);
    hk_board_file_close(file);
    return n;
}

int hk_files_settings_save(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    if (settings_path == NULL) {
        return 0;
    }
    const int file = hk_board_file_open(settings_path, HK_BOARD_FILE_WRITE);
    if (file < 0) {
        return HK_ERROR_TRANSPORT;
    }
    const int status = hk_board_file_write(file, bytes, n);
    hk_board_file_close(file);
    return status == 0 ? 0 : HK_ERROR_TRANSPORT;
}
