# `make demo` and `make test` set up everything that they need by themselves. `make help` lists the rest.
BOARD ?= mps2-an386
# test files that run side by side
JOBS ?= 2
HARKEN = .venv/bin/harken
# recordings for training and for the tests on real sound: a folder with a MANIFEST.csv
HARKEN_DATA ?= $(abspath $(wildcard ../shared/data/audio))
export HARKEN_DATA

.PHONY: help setup setup-demo demo test check soak bench format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install system packages and .venv with every extra
	@tools/setup.sh full

setup-demo:
	@tools/setup.sh demo $(BOARD)

demo: setup-demo ## an emulated board hears a scene and the cloud judges it (BOARD=host AUDIO=file.wav KEEP=1)
	@$(HARKEN) demo --board $(BOARD) $(if $(AUDIO),--audio "$(AUDIO)") $(if $(KEEP),--keep)

check: setup ## lint, types, import directions
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

test: check ## every test, on the host, on the emulated board, through a real broker
	@.venv/bin/python -m pytest -n $(JOBS) --dist loadfile

soak: setup ## the bench's tests on every board that runs here, and those on USB that hil/boards.yaml names
	@.venv/bin/python -m pytest hil/test_bench.py --board all --junitxml build/hil/junit.xml

bench: setup ## print the figures of parity, engine, audio path and size as JSON
	@$(HARKEN) eval parity --json
	@$(HARKEN) bench engine --json
	@$(HARKEN) bench device --json
	@$(HARKEN) firmware build --board $(BOARD) --json

format: setup ## put the Python in order
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

clean: ## remove what was built (not .venv)
	rm -rf build
