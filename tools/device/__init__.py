"""Devices that run on this machine: the virtual device, and emulated boards under QEMU."""

from tools.device.device import Device
from tools.device.runner import replay

__all__ = ["Device", "replay"]
