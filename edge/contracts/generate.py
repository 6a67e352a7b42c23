"""Writes the C face of the contracts: catalogue, limits, errors, enumerations and the CBOR coders.

Every `.c` file that `generate` writes is to be compiled, with `gen_dir` and `zcbor_include_dir()` among the
include folders and no further options: what zcbor's code needs (canonical encoding, fewer warnings) its files
say themselves.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from edge import catalogue
from edge.c_source import banner, write_if_changed
from edge.contracts import limits, schema, topics
from edge.contracts.error_texts import ERRORS_PATH
from edge.errors import HarkenError

_GENERATOR = "edge/contracts/generate.py"
_WIRE_TYPES = (
    "trigger",
    "clip",
    "status",
    "live_scores",
    "receipt",
    "verdict",
    "config",
    "command",
    "further_words",
    "media_piece",
    "installed",
    "update_piece",
    "host_control",
    "device_control",
)
_ZCBOR_PARTS = ("common", "encode", "decode")
# zcbor's library and its generated code are not written for these; ours is compiled with all of them.
_RELAXED_WARNINGS = (
    "-Wconversion",
    "-Wsign-conversion",
    "-Wsign-compare",
    "-Wtype-limits",
    "-Wunused-parameter",
    "-Wunused-but-set-variable",
    "-Wstrict-aliasing",
    "-Wuninitialized",
    "-Wmaybe-uninitialized",
)


def zcbor_include_dir() -> Path:
    """Return the installed zcbor package's folder of C headers; raises HarkenError where zcbor is missing."""
    spec = find_spec("zcbor")
    if spec is None or spec.origin is None:
        raise HarkenError("the Python package zcbor is missing: install Harken's dependencies (make setup)")
    return Path(spec.origin).parent / "include"


def _banner(*paths: Path) -> str:
    inputs = [path.read_bytes() for path in (Path(__file__), *paths)]
    return banner(_GENERATOR, [version("zcbor").encode(), *inputs])


def _header(name: str, comment: str, body: str) -> str:
    guard = f"{name.upper()}_H"
    return f"{comment}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif /* {guard} */\n"


def _limits_h() -> str:
    lines = [f"#define HK_{name} {value}" for name, value in limits.read().items()]
    return _header("hk_limits", _banner(limits.LIMITS_PATH), "\n".join(lines) + "\n")


def _errors() -> list[tuple[int, str, str]]:
    entries = tomllib.loads(ERRORS_PATH.read_text())["error"]
    errors = [(int(e["code"]), str(e["name"]), str(e["text"])) for e in entries]
    for n, (code, name, _) in enumerate(errors, 1):
        if code != -n:
            raise HarkenError(f"errors.toml: {name} has code {code}: codes run -1, -2, … without gaps")
    return errors


def _error_h(errors: list[tuple[int, str, str]]) -> str:
    lines = "".join(f"    HK_ERROR_{name.upper()} = {code}, /* {text} */\n" for code, name, text in errors)
    body = (
        "/* What functions return: 0 is success, negative an error. */\n"
        f"enum {{\n    HK_OK = 0,\n{lines}}};\n\n"
        f"#define HK_ERROR_COUNT {len(errors)}\n\n"
        "/* One line of English for any code; never NULL. The text is constant. */\n"
        "const char *hk_error_text(int code);\n"
    )
    return _header("hk_error", _banner(ERRORS_PATH), body)


def _error_c(errors: list[tuple[int, str, str]]) -> str:
    cases = "".join(
        f"    case HK_ERROR_{name.upper()}:\n        return {json.dumps(text)};\n" for _, name, text in errors
    )
    return (
        f'{_banner(ERRORS_PATH)}#include "hk_error.h"\n\n'
        "const char *hk_error_text(int code)\n{\n    switch (code) {\n"
        f'    case HK_OK:\n        return "success";\n{cases}'
        '    default:\n        return "an error that is not in the list";\n    }\n}\n'
    )


def _wire_values_h() -> str:
    blocks = []
    for group in schema.VALUE_GROUPS:
        named = schema.values(group).items()
        lines = "".join(f"    HK_{group.upper()}_{name.upper()} = {value},\n" for name, value in named)
        blocks.append(f"enum {{\n{lines}}};\n")
    intro = "/* The values that travel on the wire, by their names in the schema. */\n"
    return _header("hk_wire_values", _banner(schema.SCHEMA_PATH), intro + "\n".join(blocks))


def _topics_h() -> str:
    kinds = (*topics.FROM_DEVICE, *topics.TO_DEVICE)
    lines = "".join(f"    HK_KIND_{kind.upper()} = {n},\n" for n, kind in enumerate(kinds))
    names = ", ".join(json.dumps(kind) for kind in kinds)
    body = (
        f"#define HK_TOPIC_PREFIX {json.dumps(topics.PREFIX)}\n\n"
        "/* The last level of a topic; an index of HK_KIND_NAMES. */\n"
        f"enum {{\n{lines}    HK_KIND_COUNT = {len(kinds)},\n}};\n\n"
        f"#define HK_KIND_NAMES {{ {names} }}\n"
    )
    return _header("hk_topics", _banner(Path(topics.__file__)), body)


def _catalogue_h(events: catalogue.Catalogue) -> str:
    indices = "".join(f"    HK_EVENT_{event.name.upper()} = {n},\n" for n, event in enumerate(events))
    body = f"""#include <stddef.h>
#include <stdint.h>

#include "hk_wire_values.h"

#define HK_EVENT_COUNT {len(events)}

/* Index of an event: its place in hk_catalogue, among the detector's heads and the verifier's outputs. */
enum {{
{indices}}};

/* One sound that is listened for. All of it is constant. */
typedef struct {{
    uint8_t id;                    /* its number on the wire, 1-255 */
    uint8_t is_safety;             /* 1: never evicted by, nor treated as, an event that is not */
    uint8_t cadence;               /* HK_CADENCE_NONE, _T3 or _T4: the pattern that names it */
    uint8_t is_enabled_by_default; /* 1: reported unless the user says otherwise */
    uint8_t is_armed_only;         /* 1: reported only while armed */
    uint8_t default_sensitivity;   /* HK_SENSITIVITY_… */
    uint8_t clip;                  /* HK_CLIP_ALWAYS or HK_CLIP_ON_REQUEST */
    const char *name;              /* zero-terminated, as on the wire */
}} hk_event_spec_t;

extern const hk_event_spec_t hk_catalogue[HK_EVENT_COUNT];

/* Find the event called by name_length bytes at name. Returns 0 and sets *index, or HK_ERROR_UNKNOWN. */
int hk_catalogue_find(const char *name, size_t name_length, uint8_t *index);
"""
    return _header("hk_catalogue", _banner(catalogue.CATALOGUE_PATH), body)


def _catalogue_c(events: catalogue.Catalogue) -> str:
    rows = "".join(
        f"    [HK_EVENT_{event.name.upper()}] = {{ .id = {event.id}, .is_safety = {int(event.is_safety)},"
        f" .cadence = HK_CADENCE_{event.cadence.upper()},\n"
        f"        .is_enabled_by_default = {int(event.is_enabled_by_default)},"
        f" .is_armed_only = {int(event.is_armed_only)},\n"
        f"        .default_sensitivity = HK_SENSITIVITY_{event.default_sensitivity.upper()},"
        f" .clip = HK_CLIP_{event.clip.upper()}, .name = {json.dumps(event.name)} }},\n"
        for event in events
    )
    return f"""{_banner(catalogue.CATALOGUE_PATH)}#include "hk_catalogue.h"

#include <string.h>

#include "hk_error.h"

const hk_event_spec_t hk_catalogue[HK_EVENT_COUNT] = {{
{rows}}};

int hk_catalogue_find(const char *name, size_t name_length, uint8_t *index)
{{
    for (uint8_t i = 0; i < HK_EVENT_COUNT; i++) {{
        if (strlen(hk_catalogue[i].name) == name_length
            && memcmp(hk_catalogue[i].name, name, name_length) == 0) {{
            *index = i;
            return HK_OK;
        }}
    }}
    return HK_ERROR_UNKNOWN;
}}
"""


def _zcbor_preamble(comment: str) -> str:
    pragmas = "".join(f'#pragma GCC diagnostic ignored "{warning}"\n' for warning in _RELAXED_WARNINGS)
    canonical = "#define ZCBOR_CANONICAL /* definite lengths: equal content is equal bytes */\n"
    return f"{comment}{pragmas}{canonical}\n"


def _run_zcbor(gen_dir: Path) -> None:
    command = [sys.executable, "-c", "import sys; from zcbor import main; sys.exit(main())", "code"]
    command += ["--decode", "--encode", "--cddl", str(schema.SCHEMA_PATH), "--entry-types", *_WIRE_TYPES]
    command += ["--output-c", "hk_wire.c", "--output-h", "hk_wire.h", "--output-h-types", "hk_wire_types.h"]
    done = subprocess.run(command, cwd=gen_dir, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise HarkenError(f"zcbor could not turn harken.cddl into C ({reason}): mend the schema")


def _wire_coders(gen_dir: Path) -> list[Path]:
    """Run zcbor where its last output was made from other input."""
    comment = _banner(schema.SCHEMA_PATH)
    headers = [gen_dir / f"hk_wire_{part}.h" for part in ("types", "encode", "decode")]
    sources = [gen_dir / f"hk_wire_{part}.c" for part in ("encode", "decode")]
    outputs = headers + sources
    if all(path.is_file() and path.read_text().startswith(comment) for path in outputs):
        return outputs
    gen_dir.mkdir(parents=True, exist_ok=True)
    _run_zcbor(gen_dir)
    for path in headers:
        path.write_text(comment + path.read_text())
    for path in sources:
        path.write_text(_zcbor_preamble(comment) + path.read_text())
    return outputs


def _zcbor_wrappers(gen_dir: Path) -> Iterable[Path]:
    """Compile zcbor's own sources from where they are installed: found beside the include folder."""
    include = zcbor_include_dir()
    for part in _ZCBOR_PARTS:
        source = include.parent / "src" / f"zcbor_{part}.c"
        if not source.is_file():
            raise HarkenError(f"{source} is missing: reinstall the Python package zcbor")
        output = gen_dir / f"hk_zcbor_{part}.c"
        write_if_changed(output, f'{_zcbor_preamble(_banner(source))}#include "../src/{source.name}"\n')
        yield output


def generate(gen_dir: Path) -> list[Path]:
    """Write all generated C files of the contracts into `gen_dir` and return their paths.

    Files that would not change are left alone. Raises HarkenError where a source file is at fault.
    """
    events = catalogue.load()
    errors = _errors()
    texts = {
        "hk_limits.h": _limits_h(),
        "hk_error.h": _error_h(errors),
        "hk_error.c": _error_c(errors),
        "hk_wire_values.h": _wire_values_h(),
        "hk_topics.h": _topics_h(),
        "hk_catalogue.h": _catalogue_h(events),
        "hk_catalogue.c": _catalogue_c(events),
    }
    for name, text in texts.items():
        write_if_changed(gen_dir / name, text)
    return [*(gen_dir / name for name in texts), *_wire_coders(gen_dir), *_zcbor_wrappers(gen_dir)]
