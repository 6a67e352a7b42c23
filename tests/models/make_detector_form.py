"""Makes `detector_form_random_i8.tflite`: a model of the detector's form with random weights, int8.

Needs TensorFlow and tf_keras: `TF_USE_LEGACY_KERAS=1 python tests/models/make_detector_form.py OUT.tflite`.
The weights are random but not tame: gains are large enough that gates and cells saturate now and then.
"""

import sys
from pathlib import Path

import numpy as np

EVENTS = 8
FEATURES = 80
UNITS = 64
HIDDEN = 16
CALIBRATION_STEPS = 400


def main(out: Path) -> None:
    """Build, calibrate over one long sequence, convert and write."""
    import tensorflow as tf
    import tf_keras as keras

    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    source = keras.Input(batch_shape=(1, 1, FEATURES), name="features")
    x = keras.layers.LSTM(UNITS, return_sequences=True, stateful=True)(source)
    x = keras.layers.LSTM(UNITS, return_sequences=True, stateful=True)(x)
    heads = []
    for event in range(EVENTS):
        h = keras.layers.Dense(HIDDEN, activation="relu", name=f"head{event}_hidden")(x)
        heads.append(keras.layers.Dense(1, activation="sigmoid", name=f"head{event}_score")(h))
    model = keras.Model(source, keras.layers.Concatenate(axis=-1)(heads))
    for layer in model.layers:
        gain = 1.5 if isinstance(layer, keras.layers.LSTM) else 3.0
        layer.set_weights([gain * w + 0.1 * rng.standard_normal(w.shape) for w in layer.get_weights()])

    # Values at both ends of int8 / 32 make the converter's input scale exactly 1/32 with zero point 0.
    sequence = np.clip(rng.normal(0, 2, (CALIBRATION_STEPS, 1, 1, FEATURES)), -4, 127 / 32).astype(np.float32)
    sequence[0, 0, 0, :2] = (-4.0, 127 / 32)

    def representative() -> object:
        for step in sequence:
            yield [step]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    out.write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
