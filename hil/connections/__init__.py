"""What lies between a test and a board."""

from hil.connections.bench import Bench, LocalBench, SerialBench, open_bench
from hil.connections.cable import Cable

__all__ = ["Bench", "Cable", "LocalBench", "SerialBench", "open_bench"]
