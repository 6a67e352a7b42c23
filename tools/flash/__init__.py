"""Brings an image onto a board: which commands that takes, where the board is plugged in, and what went wrong."""

from tools.flash.plan import FlashPlan, Step, plan_flash
from tools.flash.run import check_hello, run_plan
from tools.flash.target import FlashTarget, flash_targets, load_target
from tools.flash.usb import SerialPort, find_port, serial_ports, udev_rules

__all__ = [
    "FlashPlan",
    "FlashTarget",
    "SerialPort",
    "Step",
    "check_hello",
    "find_port",
    "flash_targets",
    "load_target",
    "plan_flash",
    "run_plan",
    "serial_ports",
    "udev_rules",
]
