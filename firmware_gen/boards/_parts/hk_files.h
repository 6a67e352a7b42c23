/* The microphone and the settings as files, read and written through the board's hk_board_file_ functions. */
#ifndef HK_FILES_H
#define HK_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_port.h"

/* Hears 16 kHz mono int16 from a file, which may grow while it is read. Returns 0, or -1 where it cannot be opened. */
int hk_files_hear(const char *path);

/* Keeps the settings in files: the choices in `path`, which must outlive the port, the vault's copies beside it. Without
 * one the choices last as long as the device runs, and a vault is refused. */
void hk_files_keep_settings(const char *path);

/* Keeps an area of updates over a restart, in a file of its own beside the settings; nothing where they have none. */
void hk_files_update_load(unsigned area, uint8_t *bytes, size_t n);
int hk_files_update_save(unsigned area, const uint8_t *bytes, size_t n);

/* Whether they are kept in files. */
bool hk_files_keeps_settings(void);

/* For hk_port_t. */
size_t hk_files_microphone_read(void *context, int16_t *pcm, size_t n);
size_t hk_files_settings_load(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity);
int hk_files_settings_save(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n);

#endif
