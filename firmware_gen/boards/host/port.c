/* The host's port: the link on a Unix socket that one peer at a time connects to, files through the C library. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hk_files.h"
#include "hk_flash.h"
#include "hk_port.h"

enum { WAIT_MS = 10 };

static int listener = -1; /* where a peer connects */
static int peer = -1;     /* the one that has */

_Noreturn static void fail(const char *what, const char *name) {
    fprintf(stderr, "harken: %s %s: %s\n", what, name, strerror(errno));
    exit(2);
}

/* --- Link --- */

static void listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail("cannot listen at", path);
    }
    memcpy(address.sun_path, path, strlen(path));
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0) {
        fail("cannot listen at", path);
    }
    (void)unlink(path); /* what an earlier run left */
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) {
        fail("cannot listen at", path);
    }
    (void)fcntl(listener, F_SETFL, O_NONBLOCK);
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that leaves is seen by write() */
}

static void accept_peer(void) {
    if (peer < 0 && listener >= 0) {
        peer = accept(listener, NULL, NULL);
        if (peer >= 0) {
            (void)fcntl(peer, F_SETFL, O_NONBLOCK);
        }
    }
}

static void drop_peer(void) {
    (void)close(peer);
    peer = -1;
}

static size_t link_read(void *context, uint8_t *bytes, size_t capacity) {
    (void)context;
    accept_peer();
    if (peer < 0 || capacity == 0) {
        return 0;
    }
    const ssize_t n = read(peer, bytes, capacity);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        drop_peer();
    }
    return n > 0 ? (size_t)n : 0;
}

static size_t link_write(void *context, const uint8_t *bytes, size_t n) {
    (void)context;
    accept_peer();
    if (peer < 0) {
        return 0;
    }
    const ssize_t written = write(peer, bytes, n);
    if (written < 0 && errno != EAGAIN && errno != EINTR) {
        drop_peer();
    }
    return written > 0 ? (size_t)written : 0;
}

/* --- Clock, files --- */

static uint32_t clock_ms(void *context) {
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

int hk_board_file_open(const char *path, hk_board_file_mode_t mode) {
    return mode == HK_BOARD_FILE_READ ? open(path, O_RDONLY) : open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
}

size_t hk_board_file_read(int handle, void *bytes, size_t n) {
    ssize_t got;
    do {
        got = read(handle, bytes, n);
    } while (got < 0 && errno == EINTR);
    return got > 0 ? (size_t)got : 0;
}

int hk_board_file_write(int handle, const void *bytes, size_t n) {
    const uint8_t *from = bytes;
    while (n > 0) {
        const ssize_t written = write(handle, from, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return -1;
        }
        from += written;
        n -= (size_t)written;
    }
    return 0;
}

void hk_board_file_close(int handle) { (void)close(handle); }

/* --- Start, wait, end --- */

static const hk_port_t port = {
    .board = "host",
    .clock_ms = clock_ms,
    .link_read = link_read,
    .link_write = link_write,
    .microphone_read = hk_files_microphone_read,
    .settings_load = hk_files_settings_load,
    .settings_save = hk_files_settings_save,
    .update_areas = hk_flash_update_areas,
    .update_erase = hk_flash_update_erase,
    .update_write = hk_flash_update_write,
    .media_areas = hk_flash_media_areas,
    .media_erase = hk_flash_media_erase,
    .media_write = hk_flash_media_write,
    .context = NULL,
};

static const char *const usage =
    "usage: device --link unix:PATH [--microphone FILE] [--settings FILE]\n"
    "  --link        serve the link on this Unix socket\n"
    "  --microphone  hear this file of 16 kHz mono int16 samples, as far as the host announces it\n"
    "  --settings    keep the settings in this file\n";

const hk_port_t *hk_board_start(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--link") == 0 && strncmp(value, "unix:", 5) == 0) {
            listen_at(value + 5);
        } else if (strcmp(argv[i], "--microphone") == 0) {
            if (hk_files_hear(value) != 0) {
                fail("cannot hear", value);
            }
        } else if (strcmp(argv[i], "--settings") == 0) {
            hk_files_keep_settings(value);
            hk_flash_load();
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (listener < 0) {
        fputs(usage, stderr);
        exit(2);
    }
    return &port;
}

void hk_board_wait(void) {
    struct pollfd source = {.fd = peer >= 0 ? peer : listener, .events = POLLIN};
    (void)poll(&source, 1, WAIT_MS);
}

_Noreturn void hk_board_exit(int status) { exit(status); }

void hk_board_print(const char *line) { fprintf(stderr, "%s\n", line); }
