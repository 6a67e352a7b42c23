"""The detector as it runs: one step in, one set of scores out, its state kept by the LSTM operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tf_keras

STEP_INPUTS = 80
HEAD_UNITS = 16


def one_step_model(weights: Mapping[str, np.ndarray], events: Sequence[str], steps: int = 1) -> tf_keras.Model:
    """Return the float model float32[1, 1, 80] → float32[1, events], with the weights of a training.

    With more than one step at a time it is float32[1, steps, 80] → float32[1, steps, events].

    Its layers are those that the converter turns into UNIDIRECTIONAL_SEQUENCE_LSTM, FULLY_CONNECTED, LOGISTIC and
    CONCATENATION; heads are named by their events.

    Args:
        weights: as `edge.training.network.DetectorNetwork.weights` returns them.
        events: names in catalogue order, one for each head.
        steps: heard at a time.
    """
    layers = tf_keras.layers
    features = layers.Input(batch_shape=(1, steps, STEP_INPUTS), name="features")
    trunk = features
    lstms = []
    for index in range(2):
        units = len(weights[f"trunk_{index}_recurrent"])
        lstm = layers.LSTM(units, return_sequences=True, name=f"trunk_{index}")
        trunk = lstm(trunk)
        lstms.append(lstm)
    trunk = layers.Reshape((units,) if steps == 1 else (steps, units), name="trunk")(trunk)
    hidden_layers, output_layers, scores = [], [], []
    for event in events:
        hidden = layers.Dense(HEAD_UNITS, activation="relu", name=f"{event}_hidden")
        output = layers.Dense(1, activation="sigmoid", name=event)
        scores.append(output(hidden(trunk)))
        hidden_layers.append(hidden)
        output_layers.append(output)
    model = tf_keras.Model(features, layers.Concatenate(name="scores")(scores), name="harken_detector")
    for index, lstm in enumerate(lstms):
        lstm.set_weights([weights[f"trunk_{index}_{part}"] for part in ("kernel", "recurrent", "bias")])
    for index, (hidden, output) in enumerate(zip(hidden_layers, output_layers, strict=True)):
        own = slice(index * HEAD_UNITS, (index + 1) * HEAD_UNITS)
        hidden.set_weights([weights["hidden_kernel"][:, own], weights["hidden_bias"][own]])
        output.set_weights([weights["output_kernel"][index][:, None], weights["output_bias"][index : index + 1]])
    return model
