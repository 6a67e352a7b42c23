"""From float to int8, and the reference that judges the result: importing this package imports no TensorFlow."""
