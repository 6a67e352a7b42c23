/* What a board supplies to the application: the whole of the device that is not portable C.
 *
 * Every call returns at once: a port that has nothing to give or no room to take says so by its count. The board
 * owns the struct and its context, both of which outlive the application. None of it is called from an interrupt. */
#ifndef HK_PORT_H
#define HK_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_limits.h"

#define HK_PORT_UPDATE_AREAS 4u
#define HK_PORT_UPDATE_AREA_BYTES 4096u /* a sector of most flash */
#define HK_PORT_MEDIA_AREAS 2u

/* What a board keeps over a restart. */
typedef enum {
    HK_PORT_CHOICES = 0, /* what the user chose, as the cloud sent it */
    HK_PORT_VAULT_0,     /* two copies of what the device was provisioned with (hk_vault.h) */
    HK_PORT_VAULT_1,
    HK_PORT_RECORDS,
} hk_port_record_t;

typedef struct {
    /* The board's name as in its folder, sent in `hello` and in the status. Zero-terminated. */
    const char *board;
    /* Milliseconds since start, wrapping. For keep-alives and retries only: the time of sound is samples heard. */
    uint32_t (*clock_ms)(void *context);
    /* Moves up to `capacity` bytes that the host has sent into `bytes`; how many. */
    size_t (*link_read)(void *context, uint8_t *bytes, size_t capacity);
    /* Takes up to `n` bytes for the host; how many were taken. */
    size_t (*link_write)(void *context, const uint8_t *bytes, size_t n);
    /* Moves up to `n` samples (16 kHz, mono) from the microphone into `pcm`; how many. */
    size_t (*microphone_read)(void *context, int16_t *pcm, size_t n);
    /* Reads back what was last saved as this record into `bytes`; its length, 0 when nothing was. */
    size_t (*settings_load)(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity);
    /* Keeps `n` bytes over a restart; 0, or a negative hk_error.h value where the board could not (HK_ERROR_REFUSED:
     * it has nowhere to keep them). A power cut meanwhile leaves this record with any content, and every other as it was. */
    int (*settings_save)(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n);
    /* Flash for updates that arrive while the device runs (heads, thresholds, settings): HK_PORT_UPDATE_AREAS areas of
     * HK_PORT_UPDATE_AREA_BYTES one after the other, aligned to 4, read in place, kept over a restart where the board can.
     * NULL: the board takes none. */
    const uint8_t *update_areas;
    /* Erases an area to ones, or writes `n` bytes at `at` from update_areas on to what is erased; 0, or -1 where that
     * failed. Writes begin at multiples of 16 and touch no byte twice. */
    int (*update_erase)(void *context, unsigned area);
    int (*update_write)(void *context, size_t at, const uint8_t *bytes, size_t n);
    /* Flash for known media: HK_PORT_MEDIA_AREAS areas of HK_MEDIA_SET_MAX_BYTES one after the other, aligned to 4, read in
     * place, kept over a restart where the board can. NULL: the board takes none. */
    const uint8_t *media_areas;
    /* Erases an area, or writes `n` bytes at `at` from media_areas on to what is erased; 0, or -1 where that failed. */
    int (*media_erase)(void *context, unsigned area);
    int (*media_write)(void *context, size_t at, const uint8_t *bytes, size_t n);
    /* Switches an output, HK_OUTPUT_SIREN or HK_OUTPUT_RECORDING. NULL: the board has none; what is to be heard or seen is
     * said on the link all the same. */
    void (*output_switch)(void *context, uint8_t output, bool is_on);
    void *context;
} hk_port_t;

/* Starts the board and reads its command line, where it has one. Returns the board's port; a command line that it
 * cannot use ends the program with one line on the console. */
const hk_port_t *hk_board_start(int argc, char **argv);

/* Sleeps until the link may have something to read, or 10 ms have passed. */
void hk_board_wait(void);

/* Ends the program: 0 after an orderly shutdown. */
_Noreturn void hk_board_exit(int status);

/* One line for whoever watches the board's console; needed only where there is no link to log to. */
void hk_board_print(const char *line);

/* Files of the host, for boards that have a way to them (a host program, semihosting). The replay application uses
 * nothing else. A handle is 0 or more; a negative value says that the file could not be opened. */
typedef enum { HK_BOARD_FILE_READ = 0, HK_BOARD_FILE_WRITE = 1 } hk_board_file_mode_t;
int hk_board_file_open(const char *path, hk_board_file_mode_t mode);
/* Reads up to `n` bytes; how many were read, 0 at the end of the file. */
size_t hk_board_file_read(int handle, void *bytes, size_t n);
/* Reads `n` bytes, or as many as there are until the end of the file: a pipe may give fewer at a time. */
static inline size_t hk_board_file_fill(int handle, void *bytes, size_t n)
{
    size_t filled = 0;
    size_t got = 1;
    while (got > 0 && filled < n) {
        got = hk_board_file_read(handle, (uint8_t *)bytes + filled, n - filled);
        filled += got;
    }
    return filled;
}

/* Writes all of `n` bytes; 0, or -1 when the host took fewer. */
int hk_board_file_write(int handle, const void *bytes, size_t n);
void hk_board_file_close(int handle);

#endif
