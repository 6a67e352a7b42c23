"""What a device was provisioned with outlives power cuts and damage; half of it is never taken for whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts import limits, messages
from edge.contracts.messages import DeviceVault, HostProvision
from tests.core_driver import CoreDriver, CoreError, unhex

POWER = 10**9
RECORD_BYTES = 256
CUTS = 4 * RECORD_BYTES  # a sector is erased and written, byte by byte, and so is the other
FORMAT, TRANSPORT = -5, -13
STATES = ("empty", "held", "repaired", "damaged")

OLD = HostProvision("kitchen", "Home", "old password", "broker.example.org", 8883, bytes(range(32)))
NEW = HostProvision("hall", "Guests", "", "192.0.2.1", 1883, bytes(range(100, 132)))


class Vault:
    """The device's, over flash that may lose its power."""

    def __init__(self, core: CoreDriver) -> None:
        self._core = core
        self.start(is_flash_new=True)

    def start(self, power: int = POWER, is_flash_new: bool = False) -> str:
        (state,) = self._core.ask("vault_start", is_flash_new, power)
        return STATES[int(state)]

    def write(self, provision: HostProvision) -> None:
        self._core.ask("vault_write", messages.encode(provision))

    def told(self, code: int = 0) -> DeviceVault:
        message = messages.decode("device_control", unhex(self._core.ask("vault_tell", code)[0]))
        assert isinstance(message, DeviceVault)
        return message

    def held(self) -> HostProvision:
        """All that it holds, secrets too, as the message that would write it."""
        password, key = map(unhex, self._core.ask("vault_secrets"))
        told = self.told()
        return HostProvision(
            told.device_id, told.ssid, password.decode(), told.broker_host, told.broker_port, key or None
        )

    def flip(self, sector: int, bit: int) -> None:
        self._core.ask("vault_flip", sector, bit)


@pytest.fixture
def vault(core: CoreDriver) -> Vault:
    return Vault(core)


def test_a_new_device_holds_nothing_and_says_so(vault: Vault) -> None:
    assert vault.told() == DeviceVault("", "", "", 0, b"", b"", "empty", 0, 0)


def test_what_is_written_is_held_over_a_restart_and_no_secret_is_told(vault: Vault) -> None:
    vault.write(OLD)
    assert vault.start() == "held"
    assert vault.held() == OLD
    assert OLD.update_key is not None
    fingerprint = hashlib.sha256(OLD.update_key).digest()[:4]
    assert vault.told() == DeviceVault("kitchen", "Home", "broker.example.org", 8883, fingerprint, b"", "held", 1, 0)


def test_what_is_not_named_stays(vault: Vault) -> None:
    vault.write(OLD)
    vault.write(HostProvision(update_key=NEW.update_key))
    vault.write(HostProvision(ssid="Guests", wifi_password=""))
    assert vault.held() == replace(OLD, update_key=NEW.update_key, ssid="Guests", wifi_password="")


def test_the_same_again_writes_nothing(vault: Vault) -> None:
    vault.write(OLD)
    vault.start(power=0)
    vault.write(OLD)
    assert vault.told().vault_writes == 1


def test_the_old_key_is_nowhere_after_a_new_one(vault: Vault) -> None:
    """Each copy alone gives the new key: damage to one brings no older one back."""
    vault.write(OLD)
    vault.write(NEW)
    for sector in (0, 1):
        vault.flip(sector, 8 * 20)
        assert vault.start() == "repaired"
        assert vault.held() == NEW
        vault.flip(sector, 8 * 20)


@pytest.mark.parametrize("before", [None, OLD], ids=["a new device", "a provisioned one"])
def test_a_power_cut_at_any_byte_leaves_the_old_or_the_new_whole(vault: Vault, before: HostProvision | None) -> None:
    seen = set()
    for power in range(CUTS + 1):
        vault.start(is_flash_new=True)
        if before is not None:
            vault.write(before)
        vault.start(power=power)
        if power < 2 * RECORD_BYTES:
            with pytest.raises(CoreError) as error:
                vault.write(NEW)
            assert error.value.code == TRANSPORT
        else:
            vault.write(NEW)  # it holds from here on, whatever becomes of the second copy
        state = vault.start()
        if power < 2 * RECORD_BYTES:
            if before is not None:
                assert vault.held() == before
                assert state in ("held", "repaired")
            else:
                assert state in ("empty", "damaged")
                assert vault.told().device_id == ""
        else:
            assert vault.held() == NEW
        seen.add(state)
        vault.write(NEW)
        assert vault.start() == "held"
        assert vault.held() == NEW
    assert seen == ({"held", "repaired"} if before is not None else {"empty", "damaged", "repaired", "held"})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8 * RECORD_BYTES - 1), min_size=1, max_size=40, unique=True), st.integers(0, 1))
def test_any_damage_to_one_copy_costs_nothing_and_is_said(core: CoreDriver, bits: list[int], sector: int) -> None:
    vault = Vault(core)
    vault.write(OLD)
    for bit in bits:
        vault.flip(sector, bit)
    assert vault.start() == "repaired"
    assert vault.held() == OLD
    vault.write(OLD)
    assert vault.start() == "held"


def test_every_single_flipped_bit_of_the_only_copy_is_found(core: CoreDriver) -> None:
    vault = Vault(core)
    vault.write(OLD)
    vault.flip(1, 0)
    for bit in range(8 * RECORD_BYTES):
        vault.flip(0, bit)
        assert vault.start() == "damaged"
        assert vault.told().device_id == ""
        vault.flip(0, bit)
    assert vault.start() == "repaired"


def test_random_bytes_are_no_settings(core: CoreDriver) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        vault = Vault(core)
        for sector in (0, 1):
            for bit in np.flatnonzero(rng.random(8 * RECORD_BYTES) < 0.5):
                vault.flip(sector, int(bit))
        assert vault.start() == "damaged"
        vault.write(OLD)
        assert vault.held() == OLD


def test_texts_of_any_admitted_length_are_kept_and_a_zero_in_one_is_refused(vault: Vault) -> None:
    longest = HostProvision(
        "k" * limits.DEVICE_ID_MAX_CHARS,
        "s" * limits.SSID_MAX_CHARS,
        "p" * limits.WIFI_PASSWORD_MAX_CHARS,
        "b" * limits.BROKER_HOST_MAX_CHARS,
        65535,
        bytes(32),
    )
    vault.write(longest)
    assert vault.held() == longest
    vault.write(replace(OLD, ssid="é" * 16))
    assert vault.held().ssid == "é" * 16
    with pytest.raises(CoreError) as error:
        vault.write(HostProvision(ssid="a\0b"))
    assert error.value.code == FORMAT
    assert vault.held().ssid == "é" * 16
