"""The LSTM as it is trained: its cell clipped as the int8 kernels clip it."""

from __future__ import annotations

import tensorflow as tf

# the TFLite converter writes cell_clip = 10 into the fused operator; a cell that was free to grow in training
# would answer otherwise on the device
CELL_CLIP = 10.0
# the int8 kernels give each gate's matrix one symmetrical scale, and the output one of about 1/128
_WEIGHT_STEPS = 127.0
_OUTPUT_STEPS = 128.0


class ClippedLstm(tf.Module):
    """One LSTM layer over a stretch of time, weights laid out as tf_keras lays them out (gates i, f, c, o).

    Attributes:
        kernel: float32[inputs, 4 * units].
        recurrent: float32[units, 4 * units].
        bias: float32[4 * units].
    """

    def __init__(self, inputs: int, units: int, rng: tf.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.units = units
        limit = (6.0 / (inputs + units)) ** 0.5
        self.kernel = tf.Variable(rng.uniform((inputs, 4 * units), -limit, limit), name="kernel")
        blocks = [tf.linalg.qr(rng.normal((units, units)))[0] for _ in range(4)]
        self.recurrent = tf.Variable(tf.concat(blocks, axis=1), name="recurrent")
        # a forget gate that starts open lets gradients through long pauses
        bias = tf.concat([tf.zeros(units), tf.ones(units), tf.zeros(2 * units)], axis=0)
        self.bias = tf.Variable(bias, name="bias")

    def __call__(
        self, x: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, is_quantised: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Run over time.

        Args:
            x: float32[time, batch, inputs]; time and batch are static.
            hidden: float32[batch, units], the output before the first step.
            cell: float32[batch, units], the cell before the first step.
            is_quantised: round weights and outputs to the steps of the int8 kernels; gradients pass as if not.

        Returns:
            The outputs float32[time, batch, units], and hidden and cell after the last step.
        """
        time, batch = x.shape[0], x.shape[1]
        kernel, recurrent = self.kernel, self.recurrent
        if is_quantised:
            kernel, recurrent = _gates_in_steps(kernel), _gates_in_steps(recurrent)
        # one product for all steps: only the recurrent one has to wait for the step before
        driven = tf.matmul(tf.reshape(x, (time * batch, x.shape[2])), kernel) + self.bias
        driven = tf.reshape(driven, (time, batch, 4 * self.units))
        inputs = tf.TensorArray(tf.float32, time, element_shape=(batch, 4 * self.units)).unstack(driven)
        outputs = tf.TensorArray(tf.float32, time, element_shape=(batch, self.units))

        def step(
            t: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, outputs: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            i, f, c, o = tf.split(inputs.read(t) + tf.matmul(hidden, recurrent), 4, axis=1)
            cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
            cell = tf.clip_by_value(cell, -CELL_CLIP, CELL_CLIP)
            hidden = tf.sigmoid(o) * tf.tanh(cell)
            if is_quantised:
                hidden = in_steps(hidden, 1 / _OUTPUT_STEPS)
            return t + 1, hidden, cell, outputs.write(t, hidden)

        _, hidden, cell, outputs = tf.while_loop(
            lambda t, *_: t < time, step, (0, hidden, cell, outputs), maximum_iterations=time
        )
        stacked = tf.ensure_shape(outputs.stack(), (time, batch, self.units))
        return stacked, hidden, cell


def in_steps(value: tf.Tensor, step: tf.Tensor | float) -> tf.Tensor:
    """Return `value` rounded to multiples of `step`, with the gradient of `value` itself."""
    return value + tf.stop_gradient(tf.round(value / step) * step - value)


def matrix_in_steps(matrix: tf.Tensor) -> tf.Tensor:
    """Return a matrix rounded as int8 with one symmetrical scale."""
    step = tf.reduce_max(tf.abs(matrix)) / _WEIGHT_STEPS
    return in_steps(matrix, tf.stop_gradient(step))


def _gates_in_steps(matrix: tf.Tensor) -> tf.Tensor:
    return tf.concat([matrix_in_steps(gate) for gate in tf.split(matrix, 4, axis=1)], axis=1)
