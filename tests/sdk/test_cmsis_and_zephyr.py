"""`harken firmware export --sdk cmsis|zephyr`: sources compile, files are named, forgetful kernels are refused."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edge.errors import HarkenError
from firmware_gen.board import load_board
from firmware_gen.sdk import Export, export_project
from tests.sdk.compile import compile_all, require

BOARD, CORE = "mps2-an386", "cortex-m4"

pytestmark = pytest.mark.tflm


@pytest.fixture(scope="module")
def cmsis(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_project("cmsis", BOARD, tmp_path_factory.mktemp("cmsis"))


@pytest.fixture(scope="module")
def zephyr(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_project("zephyr", BOARD, tmp_path_factory.mktemp("zephyr"))


def core_include(export: Export) -> list[Path]:
    return [export.folder / "harken_core" / name for name in ("include", "generated", "zcbor")]


def sources_of(export: Export) -> list[Path]:
    return [path for path in export.files if path.suffix in {".c", ".cc"}]


@pytest.mark.qemu
def test_the_solution_compiles_links_and_starts_and_a_tflm_that_takes_no_model_is_reported(
    cmsis: Export, tmp_path: Path
) -> None:
    require(CORE)
    sources = [*sources_of(cmsis), Path(__file__).with_name("no_tflm.cc")]
    compile_all(CORE, sources, [*core_include(cmsis), cmsis.folder / "board"], ["tflm"], tmp_path)
    project = yaml.safe_load((cmsis.folder / "harken.cproject.yml").read_text())["project"]
    script = cmsis.folder / project["linker"][0]["script"]
    linked = subprocess.run(
        [
            *("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", *project["misc"][0]["Link"], "-T", script),
            *(*sorted(tmp_path.glob("*.o")), "-o", tmp_path / "harken.elf"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linked.returncode == 0, linked.stderr
    machine = ["qemu-system-arm", "-M", BOARD, "-nographic", "-serial", "none", "-monitor", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run(
        [*machine, *semihosting, "-kernel", tmp_path / "harken.elf"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "this image cannot listen:\nthe caller's buffer is too small" in ran.stdout + ran.stderr
    assert ran.returncode == 1


def test_the_solution_names_the_pack_at_one_version_and_its_reference_kernels(cmsis: Export) -> None:
    solution = yaml.safe_load((cmsis.folder / "harken.csolution.yml").read_text())["solution"]
    packs = [entry["pack"] for entry in solution["packs"]]
    assert "tensorflow::tensorflow-lite-micro@1.25.2" in packs
    assert solution["target-types"] == [{"type": BOARD, "device": "ARM::ARMCM4"}]
    project = yaml.safe_load((cmsis.folder / solution["projects"][0]["project"]).read_text())["project"]
    components = [entry["component"] for entry in project["components"]]
    assert "tensorflow::Machine Learning:TensorFlow:Kernel&Reference" in components
    assert not any("CMSIS-NN" in component for component in components)


def test_the_solution_names_every_source_it_holds_and_no_other(cmsis: Export) -> None:
    project = yaml.safe_load((cmsis.folder / "harken.cproject.yml").read_text())["project"]
    named = {file["file"] for group in project["groups"] for file in group["files"]}
    assert named == {path.relative_to(cmsis.folder).as_posix() for path in sources_of(cmsis)}
    assert all((cmsis.folder / path).is_dir() for path in project["add-path"])
    assert (cmsis.folder / project["linker"][0]["script"]).is_file()


def test_a_linker_script_takes_what_it_includes_along(tmp_path: Path) -> None:
    export = export_project("cmsis", "netduinoplus2", tmp_path / "project")
    script = (export.folder / "board" / "netduinoplus2.ld").read_text()
    assert "INCLUDE" not in script
    assert "ENTRY(hk_reset)" in script
    assert "CCM" in script


def test_the_solution_gives_the_linker_what_the_board_s_script_asks_for(cmsis: Export) -> None:
    board = load_board(BOARD)
    assert board.linker_script is not None
    asked = set(re.findall(r"\bhk_[a-z]+_(?:bytes|address)\b", board.linker_script.read_text()))
    project = yaml.safe_load((cmsis.folder / "harken.cproject.yml").read_text())["project"]
    given = dict(re.findall(r"--defsym=(hk_[a-z]+_(?:bytes|address))=(\d+)", " ".join(project["misc"][0]["Link"])))
    assert set(given) == asked
    assert board.memory is not None
    assert int(given["hk_ram_bytes"]) > board.memory.ram_bytes


def test_every_source_of_the_application_compiles(zephyr: Export, tmp_path: Path) -> None:
    """The core is that of the solution, byte for byte, so it is compiled once."""
    require(CORE)
    compile_all(CORE, sorted((zephyr.folder / "src").glob("*.c")), core_include(zephyr), ["zephyr", "tflm"], tmp_path)


def test_the_core_of_every_project_is_the_same(cmsis: Export, zephyr: Export) -> None:
    ours = sorted((cmsis.folder / "harken_core").rglob("*"))
    assert [path.relative_to(cmsis.folder) for path in ours] == [
        path.relative_to(zephyr.folder) for path in sorted((zephyr.folder / "harken_core").rglob("*"))
    ]
    for path in ours:
        assert path.is_dir() or (zephyr.folder / path.relative_to(cmsis.folder)).read_bytes() == path.read_bytes()


def test_a_board_with_a_settings_store_compiles_too(zephyr: Export, tmp_path: Path) -> None:
    require(CORE)
    port = tmp_path / "port.c"
    port.write_text("#define CONFIG_SETTINGS 1\n" + (zephyr.folder / "src" / "port.c").read_text())
    compile_all(CORE, [port], core_include(zephyr), ["zephyr", "tflm"], tmp_path)


def test_an_image_under_mcuboot_compiles_too(zephyr: Export, tmp_path: Path) -> None:
    program = zephyr.folder / "src" / "main.c"
    options = ["-DCONFIG_BOOTLOADER_MCUBOOT"]
    compile_all(CORE, [program], core_include(zephyr), ["zephyr", "tflm"], tmp_path, options)


def test_the_application_names_every_source_it_holds_and_keeps_the_reference_kernels(zephyr: Export) -> None:
    named = set(re.findall(r"^    (\S+\.cc?)$", (zephyr.folder / "CMakeLists.txt").read_text(), flags=re.M))
    assert named == {path.relative_to(zephyr.folder).as_posix() for path in sources_of(zephyr)}
    settings = (zephyr.folder / "prj.conf").read_text()
    assert "CONFIG_TENSORFLOW_LITE_MICRO=y" in settings
    assert "CONFIG_TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS=n" in settings


@pytest.mark.parametrize("sdk", ["cmsis", "zephyr"])
def test_cmsis_nn_kernels_are_refused_and_nothing_is_written(tmp_path: Path, sdk: str) -> None:
    with pytest.raises(HarkenError, match="never passes the state"):
        export_project(sdk, BOARD, tmp_path / "out", kernels="cmsis-nn")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
