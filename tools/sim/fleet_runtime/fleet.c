/* Many virtual devices in a few processes: each a whole application (hk_app) with a link of its own, whose other end is here
 * too. What a gateway does for one device, this does for each: it carries MQTT bytes to a socket of the broker. Sound comes
 * from recordings in memory, by clocks that differ; connections are cut now and then.
 *
 * usage: fleet HOST-ADDRESS PORT SECONDS SPEED CUT-EVERY-S WORKERS HOMES-FILE CONTROL-FILE PCM-FILE
 * The files are written by tools/sim/fleet.py, which describes them. Each of WORKERS processes has its share of the homes.
 * A machine that is too slow falls behind the clock; every device hears all of its sound all the same. Ends with one line
 * of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hk_app.h"
#include "hk_error.h"
#include "hk_link.h"
#include "hk_port.h"

enum {
    OUT_BYTES = 65536,   /* for the broker; a clip is half of that, and a device sends one at a time */
    IN_BYTES = 480,      /* of the broker's in one frame */
    TURNS = 64,          /* of one device before the next one's */
    REST_MS = 20,        /* a step's time, until a device without anything to do or hear gets its next turn */
    EVENTS = 256,        /* of sockets at a time */
    RETRY_MS = 1000,
    DRAIN_MS = 60000,    /* for what is not settled when the sound ends */
    CONTROL_NETWORK = 3, /* device_network, device_credit and device_heard of harken.cddl, and their keys */
    CONTROL_CREDIT = 1,
    CONTROL_HEARD = 2,
    KEY_CONTROL = 0,
    KEY_CHANNEL = 54,
    KEY_TOTAL = 55,
    KEY_PENDING = 56,
    KEY_WANT_OPEN = 57,
};

typedef enum { AWAY, CONNECTING, OPEN } connection_t;

typedef struct {
    hk_app_t app;
    hk_port_t port;
    hk_link_receiver_t from_device;
    hk_link_sender_t to_device;
    const int16_t *pcm; /* heard from `offset` on, over and over */
    size_t pcm_samples;
    size_t offset;
    double samples_per_ms;
    uint64_t heard;
    int socket;
    connection_t connection;
    bool wants_open;
    bool open_due;   /* the device is to be told that it has a connection */
    bool closed_due; /* … that it has none */
    uint64_t retry_at_ms;
    uint64_t cut_at_ms;
    uint64_t turn_at_ms;
    uint64_t mqtt_granted, mqtt_sent;
    unsigned pending;
    uint8_t out[OUT_BYTES];
    size_t out_bytes;
} home_t;

typedef struct {
    uint8_t *bytes;
    size_t length;
} blob_t;

static blob_t hello, network_open, network_closed, microphone;
static struct sockaddr_in broker;
static int poller;
static uint64_t now_ms, sound_until_ms, cut_every_ms;
static unsigned cuts, connections;
static uint64_t random_state = 88172645463325252u;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "fleet: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t random_below(uint64_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit ? random_state % limit : 0;
}

static uint64_t clock_now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* --- Files --- */

static blob_t read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    blob_t blob = {NULL, 0};
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        fail(path);
    }
    blob.length = (size_t)ftell(file);
    rewind(file);
    blob.bytes = malloc(blob.length + 1);
    if (!blob.bytes || fread(blob.bytes, 1, blob.length, file) != blob.length) {
        fail(path);
    }
    (void)fclose(file);
    return blob;
}

/* The next piece of a file of pieces, each after its length as a u32 LE. */
static blob_t next_piece(blob_t *file) {
    uint32_t length;
    if (file->length < sizeof length) {
        errno = EINVAL;
        fail("a file is cut short");
    }
    memcpy(&length, file->bytes, sizeof length);
    if (file->length - sizeof length < length) {
        errno = EINVAL;
        fail("a file is cut short");
    }
    const blob_t piece = {file->bytes + sizeof length, length};
    file->bytes += sizeof length + length;
    file->length -= sizeof length + length;
    return piece;
}

/* --- What a device says: a map of small integers to integers, booleans and strings --- */

static uint64_t cbor_head(const uint8_t **at, const uint8_t *end, uint8_t *major) {
    if (*at >= end) {
        *major = 0xff;
        return 0;
    }
    const uint8_t first = *(*at)++;
    *major = first >> 5;
    const uint8_t info = first & 31u;
    if (info < 24) {
        return info;
    }
    const size_t n = info > 27 ? 0 : (size_t)1 << (info - 24u);
    uint64_t value = 0;
    for (size_t i = 0; i < n && *at < end; ++i) {
        value = value << 8 | *(*at)++;
    }
    return value;
}

/* The unsigned integer or boolean at `key`, or `absent`. */
static uint64_t field(const uint8_t *bytes, size_t n, uint64_t key, uint64_t absent) {
    const uint8_t *at = bytes, *end = bytes + n;
    uint8_t major;
    uint64_t pairs = cbor_head(&at, end, &major);
    for (; major == 5 && pairs > 0 && at < end; --pairs) {
        uint8_t kind;
        const uint64_t name = cbor_head(&at, end, &kind);
        uint64_t value = cbor_head(&at, end, &kind);
        if (kind == 7) {
            value = value == 21; /* true */
        } else if (kind == 2 || kind == 3) {
            at = (size_t)(end - at) < value ? end : at + value;
        } else if (kind != 0) {
            return absent; /* none of what is asked for comes after a map */
        }
        if (name == key) {
            return value;
        }
    }
    return absent;
}

/* --- The broker's side --- */

static void drop(home_t *home) {
    if (home->socket >= 0) {
        (void)close(home->socket);
    }
    home->socket = -1;
    home->out_bytes = 0;
    home->open_due = false;
    home->closed_due = true;
    home->connection = AWAY;
    home->wants_open = false; /* it is asked again: what it wanted before does not count */
    home->retry_at_ms = now_ms + RETRY_MS + random_below(2 * RETRY_MS);
}

static void connect_broker(home_t *home) {
    const int one = 1;
    home->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (home->socket < 0) {
        fail("no more sockets: raise `ulimit -n`");
    }
    (void)setsockopt(home->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(home->socket, (const struct sockaddr *)&broker, sizeof broker) != 0 && errno != EINPROGRESS) {
        drop(home);
        return;
    }
    home->connection = CONNECTING;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = home};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, home->socket, &event) != 0) {
        fail("epoll");
    }
}

static void watch(home_t *home, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = home};
    (void)epoll_ctl(poller, EPOLL_CTL_MOD, home->socket, &event);
}

static void flush(home_t *home) {
    while (home->connection == OPEN && home->out_bytes > 0) {
        const ssize_t n = send(home->socket, home->out, home->out_bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                watch(home, EPOLLIN | EPOLLOUT);
                return;
            }
            drop(home);
            return;
        }
        home->out_bytes -= (size_t)n;
        memmove(home->out, home->out + n, home->out_bytes);
    }
}

static void receive(home_t *home) {
    uint8_t bytes[IN_BYTES];
    while (home->connection == OPEN && hk_link_can_send(&home->to_device, sizeof bytes)) {
        const uint64_t credit = home->mqtt_granted - home->mqtt_sent;
        if (credit == 0) {
            return;
        }
        const ssize_t n = recv(home->socket, bytes, credit < sizeof bytes ? (size_t)credit : sizeof bytes, 0);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                drop(home);
            }
            return;
        }
        (void)hk_link_send(&home->to_device, HK_CHANNEL_MQTT, bytes, (size_t)n);
        home->mqtt_sent += (uint64_t)n;
        return; /* the device takes it before there is room for more */
    }
}

static void take_socket(home_t *home, uint32_t events) {
    home->turn_at_ms = now_ms;
    if (home->connection == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t size = sizeof error;
        (void)getsockopt(home->socket, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            drop(home);
            return;
        }
        connections++;
        home->connection = OPEN;
        home->open_due = true;
        home->cut_at_ms = cut_every_ms ? now_ms + cut_every_ms / 2 + random_below(cut_every_ms) : UINT64_MAX;
        watch(home, EPOLLIN);
    } else if (home->connection == OPEN && (events & EPOLLOUT)) {
        watch(home, EPOLLIN);
        flush(home);
    }
}

/* --- The device's side: its port --- */

static void take_control(home_t *home, const uint8_t *bytes, size_t n) {
    switch (field(bytes, n, KEY_CONTROL, UINT64_MAX)) {
    case CONTROL_NETWORK:
        home->wants_open = field(bytes, n, KEY_WANT_OPEN, 0) != 0;
        if (home->connection != AWAY) {
            drop(home); /* a device that asks has no session */
            home->wants_open = field(bytes, n, KEY_WANT_OPEN, 0) != 0;
            home->closed_due = false;
        }
        break;
    case CONTROL_CREDIT:
        if (field(bytes, n, KEY_CHANNEL, UINT64_MAX) == HK_CHANNEL_MQTT) {
            home->mqtt_granted = field(bytes, n, KEY_TOTAL, home->mqtt_granted);
        }
        break;
    case CONTROL_HEARD:
        home->pending = (unsigned)field(bytes, n, KEY_PENDING, 0);
        break;
    default:
        break;
    }
}

static uint32_t port_clock_ms(void *context) {
    (void)context;
    return (uint32_t)now_ms;
}

static size_t port_link_read(void *context, uint8_t *bytes, size_t capacity) {
    home_t *home = context;
    const uint8_t *waiting;
    size_t n = hk_link_output(&home->to_device, &waiting);
    n = n < capacity ? n : capacity;
    memcpy(bytes, waiting, n);
    hk_link_output_taken(&home->to_device, n);
    return n;
}

static size_t port_link_write(void *context, const uint8_t *bytes, size_t n) {
    home_t *home = context;
    size_t left = n;
    hk_link_frame_t frame;
    while (hk_link_receive(&home->from_device, &bytes, &left, &frame)) {
        if (frame.channel == HK_CHANNEL_CONTROL) {
            take_control(home, frame.payload, frame.length);
        } else if (frame.channel == HK_CHANNEL_MQTT && home->connection == OPEN) {
            if (frame.length > OUT_BYTES - home->out_bytes) {
                drop(home); /* a broker that takes nothing */
                continue;
            }
            memcpy(home->out + home->out_bytes, frame.payload, frame.length);
            home->out_bytes += frame.length;
        }
    }
    return n;
}

static size_t port_microphone_read(void *context, int16_t *pcm, size_t n) {
    home_t *home = context;
    const uint64_t until_ms = now_ms < sound_until_ms ? now_ms : sound_until_ms;
    const uint64_t due = (uint64_t)((double)until_ms * home->samples_per_ms);
    size_t got = 0;
    for (; got < n && home->heard < due; ++got, ++home->heard) {
        pcm[got] = home->pcm[(home->offset + home->heard) % home->pcm_samples];
    }
    return got;
}

static size_t port_settings_load(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity) {
    (void)context;
    (void)record;
    (void)bytes;
    (void)capacity;
    return 0;
}

static int port_settings_save(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n) {
    (void)context;
    (void)record;
    (void)bytes;
    (void)n;
    return 0;
}

/* --- The whole --- */

static void say(home_t *home, const blob_t *message, bool *due) {
    if (*due && hk_link_send(&home->to_device, HK_CHANNEL_CONTROL, message->bytes, message->length) == 0) {
        *due = false;
    }
}

static void start(home_t *home, blob_t *homes, const blob_t *recordings, size_t recording_count, double speed) {
    const blob_t configure = next_piece(homes), numbers = next_piece(homes);
    uint32_t recording, offset;
    int32_t skew_ppm;
    if (numbers.length != 12) {
        errno = EINVAL;
        fail("the homes' file");
    }
    memcpy(&recording, numbers.bytes, 4);
    memcpy(&offset, numbers.bytes + 4, 4);
    memcpy(&skew_ppm, numbers.bytes + 8, 4);
    const blob_t *sound = &recordings[recording % recording_count];
    home->pcm = (const int16_t *)(const void *)sound->bytes;
    home->pcm_samples = sound->length / sizeof(int16_t);
    home->offset = offset;
    home->samples_per_ms = 16.0 * speed * (1.0 + skew_ppm * 1e-6);
    home->socket = -1;
    home->port = (hk_port_t){
        .board = "host",
        .clock_ms = port_clock_ms,
        .link_read = port_link_read,
        .link_write = port_link_write,
        .microphone_read = port_microphone_read,
        .settings_load = port_settings_load,
        .settings_save = port_settings_save,
        .context = home,
    };
    hk_link_receiver_init(&home->from_device);
    hk_link_sender_init(&home->to_device);
    const int status = hk_app_init(&home->app, &home->port);
    if (status != 0) {
        fprintf(stderr, "fleet: %s\n", hk_error_text(status));
        exit(2);
    }
    const blob_t first[] = {hello, configure, microphone};
    for (size_t i = 0; i < sizeof first / sizeof *first; ++i) {
        bool due = true;
        while (due) {
            say(home, &first[i], &due);
            (void)hk_app_poll(&home->app);
        }
    }
    home->closed_due = true;
}

static void turn(home_t *home) {
    say(home, &network_closed, &home->closed_due);
    if (!home->closed_due) {
        say(home, &network_open, &home->open_due);
    }
    if (home->connection == AWAY && home->wants_open && !home->closed_due && now_ms >= home->retry_at_ms) {
        connect_broker(home);
    }
    if (home->connection == OPEN && now_ms >= home->cut_at_ms) {
        cuts++;
        drop(home);
    }
    home->turn_at_ms = now_ms; /* while it is busy the others have their turn, then it goes on */
    for (unsigned i = 0; i < TURNS; ++i) {
        receive(home);
        const hk_app_state_t state = hk_app_poll(&home->app);
        flush(home);
        if (state != HK_APP_BUSY) {
            home->turn_at_ms = now_ms + REST_MS;
            break;
        }
    }
}

/* What one process counted. */
typedef struct {
    uint64_t triggers, dropped, waiting, samples, late_ms, heard_at_ms, ended_at_ms, memory_kb;
    double cpu_s;
    unsigned online, pending, connections, cuts;
} figures_t;

static uint64_t most_memory_kb(void) {
    unsigned long most_kb = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        (void)sscanf(line, "VmHWM: %lu", &most_kb);
    }
    if (status) {
        (void)fclose(status);
    }
    return most_kb;
}

static bool has_heard_all(const home_t *home) {
    return home->heard >= (uint64_t)((double)sound_until_ms * home->samples_per_ms);
}

/* Runs until all sound is heard and nothing waits for the cloud, DRAIN_MS at most after the last sound. */
static void run(home_t *homes, uint32_t count, figures_t *figures) {
    const uint64_t began_ms = clock_now_ms();
    uint64_t heard_at_ms = UINT64_MAX;
    unsigned pending = 1;
    while (heard_at_ms == UINT64_MAX || (pending > 0 && now_ms < heard_at_ms + DRAIN_MS)) {
        struct epoll_event events[EVENTS];
        const int ready = epoll_wait(poller, events, EVENTS, 1);
        const uint64_t before_ms = now_ms;
        now_ms = clock_now_ms() - began_ms;
        const uint64_t took_ms = now_ms - before_ms;
        figures->late_ms = took_ms > figures->late_ms ? took_ms : figures->late_ms;
        for (int i = 0; i < ready; ++i) {
            take_socket(events[i].data.ptr, events[i].events);
        }
        bool is_all_heard = true;
        pending = 0;
        for (uint32_t i = 0; i < count; ++i) {
            if (now_ms >= homes[i].turn_at_ms) {
                turn(&homes[i]);
            }
            pending += homes[i].pending;
            is_all_heard = is_all_heard && has_heard_all(&homes[i]);
        }
        if (is_all_heard && heard_at_ms == UINT64_MAX) {
            heard_at_ms = now_ms;
        }
    }
    for (uint32_t i = 0; i < count; ++i) {
        figures->triggers += homes[i].app.triggers_made;
        figures->samples += homes[i].heard;
        figures->dropped += homes[i].app.uplink.outbox.dropped;
        figures->waiting += hk_outbox_depth(&homes[i].app.uplink.outbox);
        figures->online += homes[i].connection == OPEN;
    }
    figures->heard_at_ms = heard_at_ms;
    figures->ended_at_ms = now_ms;
    figures->pending = pending;
    figures->connections = connections;
    figures->cuts = cuts;
    figures->memory_kb = most_memory_kb();
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    figures->cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec
                     + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* One process: every `workers`th home from `worker` on. */
static void work(uint32_t worker, uint32_t workers, blob_t homes_file, const blob_t *recordings, size_t recording_count,
                 uint32_t all, double speed, figures_t *figures) {
    const uint32_t count = (all - worker + workers - 1) / workers;
    random_state += worker;
    poller = epoll_create1(0);
    home_t *homes = calloc(count, sizeof *homes);
    if (!homes) {
        fail("the homes' memory");
    }
    for (uint32_t i = 0, own = 0; i < all; ++i) {
        if (i % workers == worker) {
            start(&homes[own], &homes_file, recordings, recording_count, speed);
            homes[own].turn_at_ms = own % REST_MS; /* not all in the same millisecond */
            own++;
        } else {
            (void)next_piece(&homes_file);
            (void)next_piece(&homes_file);
        }
    }
    run(homes, count, figures);
    free(homes);
}

static void print(const figures_t *each, uint32_t workers, uint32_t count, double sound_s) {
    figures_t all = {0};
    for (uint32_t i = 0; i < workers; ++i) {
        all.triggers += each[i].triggers;
        all.dropped += each[i].dropped;
        all.waiting += each[i].waiting;
        all.samples += each[i].samples;
        all.memory_kb += each[i].memory_kb;
        all.cpu_s += each[i].cpu_s;
        all.online += each[i].online;
        all.pending += each[i].pending;
        all.connections += each[i].connections;
        all.cuts += each[i].cuts;
        all.late_ms = each[i].late_ms > all.late_ms ? each[i].late_ms : all.late_ms;
        all.heard_at_ms = each[i].heard_at_ms > all.heard_at_ms ? each[i].heard_at_ms : all.heard_at_ms;
        all.ended_at_ms = each[i].ended_at_ms > all.ended_at_ms ? each[i].ended_at_ms : all.ended_at_ms;
    }
    printf("{\"devices\": %u, \"workers\": %u, \"online\": %u, \"audio_s\": %llu, \"sound_wall_s\": %.1f, \"wall_s\": %.1f, "
           "\"times_real_time\": %.3f, \"cpu_s\": %.1f, \"triggers\": %llu, \"receipted\": %llu, "
           "\"triggers_dropped\": %llu, \"pending\": %u, \"connections\": %u, \"cuts\": %u, \"longest_turn_ms\": %llu, "
           "\"memory_mb\": %llu}\n",
           count, workers, all.online, (unsigned long long)(all.samples / 16000u), (double)all.heard_at_ms / 1000.0,
           (double)all.ended_at_ms / 1000.0, sound_s / ((double)all.heard_at_ms / 1000.0), all.cpu_s,
           (unsigned long long)all.triggers, (unsigned long long)(all.triggers - all.dropped - all.waiting),
           (unsigned long long)all.dropped, all.pending, all.connections, all.cuts, (unsigned long long)all.late_ms,
           (unsigned long long)(all.memory_kb / 1024));
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fputs("usage: fleet ADDRESS PORT SECONDS SPEED CUT-EVERY-S WORKERS HOMES CONTROL PCM\n", stderr);
        return 2;
    }
    broker = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &broker.sin_addr) != 1) {
        errno = EINVAL;
        fail(argv[1]);
    }
    const double seconds = atof(argv[3]), speed = atof(argv[4]);
    cut_every_ms = (uint64_t)(atof(argv[5]) * 1000.0);
    const uint32_t workers = (uint32_t)atoi(argv[6]);
    blob_t homes_file = read_file(argv[7]), control = read_file(argv[8]), pcm = read_file(argv[9]);
    hello = next_piece(&control);
    network_open = next_piece(&control);
    network_closed = next_piece(&control);
    microphone = next_piece(&control);
    blob_t recordings[64];
    size_t recording_count = 0;
    while (pcm.length > 0 && recording_count < sizeof recordings / sizeof *recordings) {
        const blob_t piece = next_piece(&pcm);
        recordings[recording_count] = (blob_t){malloc(piece.length), piece.length};
        memcpy(recordings[recording_count++].bytes, piece.bytes, piece.length);
    }
    uint32_t count;
    const blob_t head = next_piece(&homes_file);
    memcpy(&count, head.bytes, sizeof count);
    figures_t *figures = calloc(workers, sizeof *figures);
    int results[2];
    if (workers == 0 || workers > count || recording_count == 0 || !figures || pipe(results) != 0) {
        fail("the homes");
    }
    sound_until_ms = (uint64_t)(seconds / speed * 1000.0);
    for (uint32_t i = 0; i < workers; ++i) {
        const pid_t child = fork();
        if (child < 0) {
            fail("fork");
        }
        if (child == 0) {
            work(i, workers, homes_file, recordings, recording_count, count, speed, figures);
            return write(results[1], figures, sizeof *figures) == (ssize_t)sizeof *figures ? 0 : 2; /* whole, being short */
        }
    }
    for (uint32_t i = 0; i < workers; ++i) {
        int status;
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0
            || read(results[0], &figures[i], sizeof *figures) != (ssize_t)sizeof *figures) {
            (void)kill(0, SIGTERM); /* the others would go on alone */
            return 2;
        }
    }
    print(figures, workers, count, seconds);
    return 0;
}
