"""Windows that slide over an image: what convolutions and poolings have in common."""

from dataclasses import dataclass

import tflite

from firmware_gen.compiler.graph import Graph, Operator, Tensor

MAX_REACH = 2**15  # of a stride or of a filter with its dilation, in points: keeps the kernels' sums in 32 bits


@dataclass(frozen=True)
class Window:
    """One geometry; pairs are (height, width). `padding` is what lies above and to the left, and may be outside.

    Fields are those of hk_window_t in kernels/window.h.
    """

    batches: int
    image: tuple[int, int]
    channels: int
    filter: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]

    @property
    def is_single_point(self) -> bool:
        """Whether every window is one point, which can be read where it lies."""
        return self.filter == (1, 1) and self.padding == (0, 0)


def read_window(graph: Graph, operator: Operator, source: Tensor, output: Tensor, shape: tuple[int, int]) -> Window:
    """Return the geometry of a filter of `shape`. Raises HarkenError where the shapes do not agree with the options."""
    options = operator.options
    graph.require(operator, bool(options), "it has no options")
    graph.require(
        operator,
        len(source.shape) == len(output.shape) == 4,
        f"input {list(source.shape)} and output {list(output.shape)} are not [batch, height, width, channels]",
    )
    graph.require(operator, source.shape[0] == output.shape[0], "input and output differ in batches")
    stride, dilation = options["stride"], options.get("dilation", (1, 1))
    for size, step, apart in zip(shape, stride, dilation, strict=True):
        is_fit = min(size, step, apart) >= 1 and max(step, (size - 1) * apart + 1) <= MAX_REACH
        graph.require(operator, is_fit, "its filter, strides or dilations are out of range")
    paddings, sizes = [], []
    for image, size, step, apart in zip(source.shape[1:3], shape, stride, dilation, strict=True):
        reach = (size - 1) * apart + 1
        if options["padding"] == tflite.Padding.SAME:
            count = -(-image // step)
        else:
            graph.require(operator, options["padding"] == tflite.Padding.VALID, "its padding is neither SAME nor VALID")
            count = (image + step - reach) // step
        sizes.append(count)
        paddings.append(max((count - 1) * step + reach - image, 0) // 2)
    graph.require(
        operator,
        tuple(sizes) == output.shape[1:3] and min(sizes) >= 1,
        f"its output is {list(output.shape[1:3])} high and wide where filter, stride and padding give {sizes}",
    )
    return Window(
        batches=source.shape[0],
        image=(source.shape[1], source.shape[2]),
        channels=source.shape[3],
        filter=shape,
        stride=stride,
        dilation=dilation,
        padding=(paddings[0], paddings[1]),
        output=(sizes[0], sizes[1]),
    )
