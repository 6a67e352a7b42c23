"""The core's HMAC-SHA256 against published vectors (RFC 4231) and Python's own."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest

from tests.core_driver import CoreDriver, unhex

# RFC 4231, 4.2 to 4.8: key, data, code (case 5 is truncated to 128 bits there).
RFC_4231 = (
    ("0b" * 20, b"Hi There".hex(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?".hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa" * 20, "dd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)).hex(),
        "cd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    ("0c" * 20, b"Test With Truncation".hex(), "a3b6167473100ee06e0c796c2955552b"),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First".hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data. "
            b"The key needs to be hashed before being used by the HMAC algorithm."
        ).hex(),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


@pytest.mark.parametrize(("key", "data", "code"), RFC_4231, ids=[f"case {n}" for n in range(1, 8)])
def test_it_gives_the_codes_of_rfc_4231(core: CoreDriver, key: str, data: str, code: str) -> None:
    for piece in (1, 7, 64, 1000):
        (given,) = core.ask("hmac_sha256", bytes.fromhex(key), bytes.fromhex(data), piece)
        assert unhex(given).hex().startswith(code)


@pytest.mark.parametrize("key_bytes", [0, 1, 31, 32, 63, 64, 65, 200])
def test_it_gives_what_python_gives(core: CoreDriver, key_bytes: int) -> None:
    rng = np.random.default_rng(key_bytes)
    for length in (0, 1, 55, 56, 63, 64, 128, 700):
        key, data = rng.bytes(key_bytes), rng.bytes(length)
        (given,) = core.ask("hmac_sha256", key, data, 61)
        assert unhex(given) == hmac.new(key, data, hashlib.sha256).digest()


def test_bytes_are_equal_or_not_wherever_they_differ(core: CoreDriver) -> None:
    code = np.random.default_rng(1).bytes(32)
    assert core.ask("is_equal", code, code) == ["1"]
    for at in range(32):
        other = code[:at] + bytes([code[at] ^ 1]) + code[at + 1 :]
        assert core.ask("is_equal", code, other) == ["0"]
