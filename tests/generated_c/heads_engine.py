"""Heads as an engine of their own: the trunk's output in, one score a head out, so that emulated cores can run them."""

from collections.abc import Sequence
from pathlib import Path

from edge import build_core, c_source
from firmware_gen.compiler import CompiledModel

SOURCES = Path(build_core.__file__).parent / "core" / "src"

_HEADER = """#ifndef HK_MODEL_H
#define HK_MODEL_H
#include <stdint.h>
#define HK_ENGINE_INPUT_BYTES {inputs}u
#define HK_ENGINE_OUTPUT_BYTES {heads}u
#define HK_ENGINE_STATE_BYTES {state}u
#endif
"""

_SOURCE = """#include "hk_engine.h"
{includes}
{blobs}
static const struct {{ const uint8_t *blob; size_t len; }} blobs[] = {{ {entries} }};
void hk_engine_reset(hk_engine_t *engine)
{{
    hk_head_t *heads = (hk_head_t *)(void *)engine->bytes;
    for (uint32_t i = 0; i < HK_ENGINE_OUTPUT_BYTES; i++) {{
        if (hk_head_open(&heads[i], blobs[i].blob, blobs[i].len) != 0) {{
            __builtin_trap();
        }}
    }}
}}
void hk_engine_step(hk_engine_t *engine, const int8_t *in, int8_t *out)
{{
    hk_head_score((const hk_head_t *)(void *)engine->bytes, HK_ENGINE_OUTPUT_BYTES, in, (uint8_t *)out);
}}
"""

STATE_BYTES_PER_HEAD = 64  # room for an hk_head_t with pointers of 64 bits


def heads_engine(blobs: Sequence[bytes], inputs: int, folder: Path) -> CompiledModel:
    """Write an engine that scores int8[inputs] with every blob; its outputs are uint8[heads]."""
    folder.mkdir(parents=True, exist_ok=True)
    state = STATE_BYTES_PER_HEAD * len(blobs)
    header, source = folder / "hk_model.h", folder / "hk_model.c"
    header.write_text(_HEADER.format(inputs=inputs, heads=len(blobs), state=state))
    arrays = [c_source.array(f"_Alignas(4) static const uint8_t blob_{i}[{len(b)}]", b) for i, b in enumerate(blobs)]
    names = ("hk_crc32.c", "hk_dense.c", "hk_head.c")
    source.write_text(
        _SOURCE.format(
            includes="\n".join(f'#include "{SOURCES / name}"' for name in names),
            blobs="\n".join(arrays),
            entries=", ".join(f"{{blob_{i}, sizeof blob_{i}}}" for i in range(len(blobs))),
        )
    )
    return CompiledModel(
        (header, source), (source,), inputs, len(blobs), state, bytes(8), bytes(8), (), tuple(blobs), ("HEADS",)
    )
