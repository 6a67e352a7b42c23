"""Settings in the STM32F405's own flash: written as the chip wants it, and whole after a power cut at any step."""

import re
import subprocess
from pathlib import Path

from edge import build_core
from edge.contracts import generate

BOARDS = Path(__file__).parents[3] / "firmware_gen" / "boards"
MODULES = ("crc32", "messages", "sha256", "vault", "wipe")


def test_a_power_cut_at_any_step_of_the_chip_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    generated = [path for path in build_core.generate(tmp_path / "gen") if path.suffix == ".c"]
    sources = [path for name in MODULES if (path := build_core.SOURCE_DIR / f"hk_{name}.c").is_file()]
    folders = [build_core.INCLUDE_DIR, tmp_path / "gen", generate.zcbor_include_dir()]
    folders += [BOARDS / "netduinoplus2", BOARDS / "_parts"]
    command = [build_core.find_compiler(), *build_core.WARNING_FLAGS, "-O1", "-g", "-fsanitize=address,undefined"]
    command += [f"-I{folder}" for folder in folders]
    command += [str(Path(__file__).with_name("sectors_driver.c")), *map(str, sources), *map(str, generated)]
    subprocess.run([*command, "-o", str(tmp_path / "sectors")], check=True)
    done = subprocess.run([tmp_path / "sectors"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"old (\d+) new (\d+) faults 0\n", done.stdout)
    assert found is not None, done.stdout
    # A cut while the first copy is erased and written leaves the old ones, after that the new ones.
    assert abs(int(found[1]) - int(found[2])) <= 10
    assert int(found[1]) > 64
