"""`harken firmware export --sdk esp-idf`: sources compile, tables fit the chip, manifests say what is meant."""

import re
from pathlib import Path

import pytest
import yaml

from edge.contracts import limits
from firmware_gen.board import load_sdk_board, sdk_board_names
from firmware_gen.sdk import Export, export_project
from firmware_gen.tflm import ABIS
from tests.sdk.compile import compile_all, require

BOARDS = [name for name in sdk_board_names() if load_sdk_board(name).sdk == "esp-idf"]

pytestmark = pytest.mark.tflm


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    folder = tmp_path_factory.mktemp("esp-idf")
    return {board: export_project("esp-idf", board, folder / board) for board in BOARDS}


def test_there_is_a_folder_for_each_chip() -> None:
    assert BOARDS == ["esp32", "esp32c3", "esp32s3"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_source_compiles_against_the_sdk_s_declarations(
    exports: dict[str, Export], board: str, tmp_path: Path
) -> None:
    core = load_sdk_board(board).abi
    require(core)
    folder = exports[board].folder
    component = folder / "components" / "harken_core"
    sources = [path for path in exports[board].files if path.suffix in {".c", ".cc"}]
    assert len(sources) > 30
    if board == "esp32s3":  # its core is that of the other Xtensa chip, byte for byte
        other = exports["esp32"].folder / "components" / "harken_core"
        assert all(
            (other / path.relative_to(component)).read_bytes() == path.read_bytes()
            for path in component.rglob("*")
            if path.is_file()
        )
        sources = sorted((folder / "main").glob("*.c"))
    include = [folder / "main", *(component / name for name in ("include", "generated", "zcbor"))]
    compile_all(core, sources, include, ["esp_idf", "tflm"], tmp_path)
    other = ("-DCONFIG_ESP_CONSOLE_USB_SERIAL_JTAG", "-DCONFIG_HARKEN_FIRMWARE_OF_FLEET")
    chosen = [folder / "main" / name for name in ("link.c", "firmware.c")]
    compile_all(core, chosen, include, ["esp_idf"], tmp_path, other)


@pytest.mark.parametrize("board", BOARDS)
def test_the_component_names_every_source_it_holds_and_no_other(exports: dict[str, Export], board: str) -> None:
    component = exports[board].folder / "components" / "harken_core"
    named = set(re.findall(r'"((?:src|generated)/[^"]+)"', (component / "CMakeLists.txt").read_text()))
    held = {path.relative_to(component).as_posix() for path in component.rglob("*") if path.suffix in {".c", ".cc"}}
    assert named == held
    assert {"src/hk_engine_tflm.cc", "generated/hk_model_tflm.cc"} <= held
    assert "generated/hk_model.c" not in held


@pytest.mark.parametrize("board", BOARDS)
def test_the_firmware_slots_fit_the_flash(exports: dict[str, Export], board: str) -> None:
    lines = (exports[board].folder / "partitions.csv").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line and not line.startswith("#")]
    end = 0x9000  # after the boot loader and the table
    for _, kind, _, offset, size in rows:
        assert int(offset, 0) >= end
        assert int(offset, 0) % (0x10000 if kind == "app" else 0x1000) == 0
        end = int(offset, 0) + int(size, 0)
    flash = load_sdk_board(board).settings["flash_bytes"]
    assert end <= flash
    sizes = {row[0]: int(row[4], 0) for row in rows}
    assert sizes["ota_0"] == sizes["ota_1"] > 1_500_000
    assert {"nvs", "otadata", "settings", "phy_init"} <= set(sizes)
    assert sizes["updates"] == 4 * 4096
    assert sizes["media"] == 2 * limits.MEDIA_SET_MAX_BYTES
    flash_mb = flash // 1048576
    assert f"CONFIG_ESPTOOLPY_FLASHSIZE_{flash_mb}MB=y" in (exports[board].folder / "sdkconfig.defaults").read_text()


@pytest.mark.parametrize("board", BOARDS)
def test_firmware_is_told_apart_by_board_and_version_and_rolls_back(exports: dict[str, Export], board: str) -> None:
    folder = exports[board].folder
    project = (folder / "CMakeLists.txt").read_text()
    assert f"project(harken_{board})" in project
    assert re.search(r'set\(PROJECT_VER "\d+\.\d+\.\d+"\)', project)
    assert project.index("PROJECT_VER") < project.index("project(harken")
    settings = (folder / "sdkconfig.defaults").read_text().splitlines()
    assert {"CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE=y", "CONFIG_MBEDTLS_CERTIFICATE_BUNDLE=y"} <= set(settings)
    component = (folder / "main" / "CMakeLists.txt").read_text()
    named = set(re.findall(r'"(\w+\.c)"', component))
    assert named == {path.name for path in (folder / "main").glob("*.c")}
    assert {"app_update", "esp_https_ota", "esp_partition"} <= set(component.split())


@pytest.mark.parametrize("board", BOARDS)
def test_the_manifests_name_tflm_at_one_version(exports: dict[str, Export], board: str) -> None:
    paths = sorted(exports[board].folder.rglob("idf_component.yml"))
    assert len(paths) == 2
    dependencies = {}
    for path in paths:
        dependencies.update(yaml.safe_load(path.read_text())["dependencies"])
    assert dependencies["espressif/esp-tflite-micro"] == {"version": "==1.4.0"}
    assert dependencies["idf"]["version"].startswith(">=5.")


def test_the_manifests_are_of_the_component_manager_s_form(exports: dict[str, Export]) -> None:
    manager = pytest.importorskip("idf_component_tools.manager")
    for path in exports["esp32"].folder.rglob("idf_component.yml"):
        manager.ManifestManager(path, path.parent.name).load()


def test_exporting_again_writes_the_same_and_tidies_up(tmp_path: Path) -> None:
    first = export_project("esp-idf", "esp32c3", tmp_path)
    texts = {path: path.read_bytes() for path in first.files}
    (tmp_path / "mine.txt").write_text("left alone")
    compiled = export_project("esp-idf", "esp32c3", tmp_path, engine="compiled")
    component = tmp_path / "components" / "harken_core"
    assert compiled.arena is None
    assert (component / "generated" / "hk_model.c").is_file()
    assert not (component / "src" / "hk_engine_tflm.cc").exists()
    assert "esp-tflite-micro" not in (component / "idf_component.yml").read_text()
    again = export_project("esp-idf", "esp32c3", tmp_path)
    assert {path: path.read_bytes() for path in again.files} == texts
    assert (tmp_path / "mine.txt").is_file()
    assert not (component / "generated" / "hk_model.c").exists()


def test_the_arena_is_that_of_the_chip_s_abi(exports: dict[str, Export]) -> None:
    for board in BOARDS:
        arena = exports[board].arena
        assert arena is not None
        header = exports[board].folder / "components/harken_core/generated/hk_model_tflm.h"
        assert f"hk_tflm_arena_bytes = {arena.bytes};" in header.read_text()
        assert load_sdk_board(board).abi in ABIS
