/* Lets a device take an update, and writes what that took of its time.
 *
 * update SIGNED FIGURES: SIGNED holds a signed update for device `bench`, whose key is 0, 1, … 31. FIGURES gets,
 * little-endian, u32 each: instructions and ticks of a loop of known length; ticks of the dearest piece; ticks of what
 * then happens between two steps: signature, self-test, use; the fate of the update. */
#include <string.h>

#include "../instruction_clock/hk_bench_clock.h"
#include "hk_error.h"
#include "hk_port.h"
#include "hk_update.h"

enum { SPIN_ROUNDS = 2000000 };

typedef struct {
    uint32_t spin_instructions;
    uint32_t spin_ticks;
    uint32_t piece_ticks;
    uint32_t use_ticks;
    uint32_t fate;
} figures_t;

static hk_listener_t listener;
static hk_update_t update;
static _Alignas(4) uint8_t signed_update[HK_UPDATE_MAX_BYTES];

static uint32_t ticks_since(uint32_t before)
{
    return (hk_bench_ticks() - before) & hk_bench_tick_mask;
}

static void take(size_t total, figures_t *figures)
{
    for (size_t at = 0; at < total; at += HK_UPDATE_PIECE_BYTES) {
        const size_t left = total - at;
        const hk_update_piece_t piece = {
            .data = signed_update + at,
            .data_bytes = (uint16_t)(left < HK_UPDATE_PIECE_BYTES ? left : HK_UPDATE_PIECE_BYTES),
            .offset = (uint16_t)at,
            .total = (uint16_t)total,
            .tag = signed_update + HK_UPDATE_TAG_AT,
        };
        const uint32_t before = hk_bench_ticks();
        hk_update_take(&update, &piece);
        const uint32_t ticks = ticks_since(before);
        figures->piece_ticks = ticks > figures->piece_ticks ? ticks : figures->piece_ticks;
    }
    const uint32_t before = hk_bench_ticks();
    hk_update_poll(&update);
    figures->use_ticks = ticks_since(before);
    hk_installed_t installed;
    hk_update_describe(&update, &installed);
    figures->fate = installed.count == 1 ? installed.updates[0].fate : UINT32_MAX;
}

int main(int argc, char **argv)
{
    const hk_port_t *port = hk_board_start(1, argv);
    const int in = argc == 3 ? hk_board_file_open(argv[1], HK_BOARD_FILE_READ) : -1;
    const int out = in < 0 ? -1 : hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    if (out < 0) {
        hk_board_print("harken: usage: update SIGNED FIGURES");
        return 2;
    }
    const size_t total = hk_board_file_read(in, signed_update, sizeof signed_update);
    hk_board_file_close(in);
    if (hk_listener_init(&listener) != 0) {
        hk_board_print("harken: update: the heads of this image cannot be used");
        return 1;
    }
    uint8_t key[HK_UPDATE_KEY_BYTES];
    for (uint8_t i = 0; i < sizeof key; i++) {
        key[i] = i;
    }
    hk_update_open(&update, port, &listener);
    hk_update_set_identity(&update, "bench");
    hk_update_set_key(&update, key);
    hk_bench_clock_start();
    figures_t figures = {.spin_instructions = 2 * SPIN_ROUNDS};
    const uint32_t before = hk_bench_ticks();
    hk_bench_spin(SPIN_ROUNDS);
    figures.spin_ticks = ticks_since(before);
    take(total, &figures);
    const int status = hk_board_file_write(out, &figures, sizeof figures);
    hk_board_file_close(out);
    return status == 0 ? 0 : 1;
}
