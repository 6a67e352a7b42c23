"""Field numbers and enumerations by name, read from `harken.cddl`."""

import re
from functools import cache
from pathlib import Path

SCHEMA_PATH = Path(__file__).with_name("harken.cddl")

_CONSTANT = re.compile(r"^(?P<name>[a-z][a-z0-9_]*) = (?P<value>\d+)\b", re.MULTILINE)

# The enumerations whose values C sees as HK_<GROUP>_<NAME>.
VALUE_GROUPS = (
    "sensitivity",
    "cadence",
    "clip",
    "receipt",
    "verdict",
    "command",
    "output",
    "host",
    "device",
    "vault",
    "part",
    "fate",
)


@cache
def constants() -> dict[str, int]:
    """Return every constant of the schema by its name, in the schema's order."""
    return {match["name"]: int(match["value"]) for match in _CONSTANT.finditer(SCHEMA_PATH.read_text())}


@cache
def keys() -> dict[str, int]:
    """Return the number of every field by its name: `{"event_id": 1, …}`."""
    return {name.removeprefix("k_"): value for name, value in constants().items() if name.startswith("k_")}


@cache
def values(group: str) -> dict[str, int]:
    """Return an enumeration by its names without the group: `values("cadence")["t3"] == 1`."""
    prefix = f"{group}_"
    return {n.removeprefix(prefix): v for n, v in constants().items() if n.startswith(prefix)}
