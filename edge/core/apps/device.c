/* The device: starts the board, then turns the application's crank. */
#include "hk_app.h"
#include "hk_error.h"
#include "hk_port.h"

static hk_app_t app;

int main(int argc, char **argv)
{
    const hk_port_t *port = hk_board_start(argc, argv);
    const int status = hk_app_init(&app, port);
    if (status != 0) {
        hk_board_print("harken: this image cannot listen:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    for (;;) {
        switch (hk_app_poll(&app)) {
        case HK_APP_BUSY:
            break;
        case HK_APP_IDLE:
            hk_board_wait();
            break;
        case HK_APP_STOPPED:
            return 0;
        }
    }
}
