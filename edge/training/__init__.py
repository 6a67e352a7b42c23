"""Teaches the detector and the verifier: the only part that imports TensorFlow, with `edge.quantization`."""
