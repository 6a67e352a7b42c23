"""The second engine: the same trunk run by TensorFlow Lite Micro, with its arena's size computed for each target."""

from firmware_gen.tflm.arena import Arena, arena_of
from firmware_gen.tflm.engine import TflmEngine, generate_engine
from firmware_gen.tflm.kernels import KernelLibrary, check_kernels
from firmware_gen.tflm.layouts import ABIS, Abi

__all__ = ["ABIS", "Abi", "Arena", "KernelLibrary", "TflmEngine", "arena_of", "check_kernels", "generate_engine"]
