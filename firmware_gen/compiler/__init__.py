"""From a `.tflite` model to C that answers as TensorFlow Lite Micro does, byte for byte."""

from firmware_gen.compiler.compile import CompiledModel, compile_model, compile_whole

__all__ = ["CompiledModel", "compile_model", "compile_whole"]
