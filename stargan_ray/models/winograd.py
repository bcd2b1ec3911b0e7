"""3 × 3 convolutions by Winograd's minimal filtering, F(4 × 4, 3 × 3), for processors: the arithmetic.

A tile of 4 × 4 results takes 36 multiplications a pair of channels where the plain form takes 144 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", CVPR 2016): tiles of 6 × 6 inputs and the weights are taken to
another basis (Bᵀ d B and G g Gᵀ), multiplied there, and the sums taken back (Aᵀ m A). The products are 36 matrix
products over the channels, which a processor computes at its full rate. In fp32 a result is some 2e-6 of its size
from the exact one, the plain convolution's 1e-6.

Tiles are worked on in blocks that stay in the processor's cache. Doubling an image before a convolution, and summing
2 × 2 of its results, are part of the changes of basis: then a tile reads 4 × 4 pixels, or gives 2 × 2.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

_TILES = 128  # in a block: their three forms of 36 × 256 channels are some 5 MB each
_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_WEIGHT = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
_DOUBLED = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]  # 6 of 4 pixels
_SUMMED = [[1, 1, 0, 0], [0, 0, 1, 1]]


@dataclass(frozen=True)
class Form:
    """What is convolved, s · S(w ∗ U(x)), and what is a convolution of the same kind: its gradient by x.

    Attributes:
        turned: with the weights' channels exchanged and their 3 × 3 turned round.
        double: U repeats each pixel 2 × 2.
        add: S sums 2 × 2 pixels.
        scale: s.
    """

    turned: bool = False
    double: bool = False
    add: bool = False
    scale: float = 1.0

    def adjoint(self) -> Form:
        """The gradient by x, a function of the gradient by the result."""
        return Form(not self.turned, self.add, self.double, self.scale)

    @property
    def read(self) -> int:
        """Pixels between two tiles of x, along a side."""
        return 2 if self.double else 4

    @property
    def written(self) -> int:
        """Pixels of a tile of the result, along a side."""
        return 2 if self.add else 4

    def size(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the result."""
        height, width = (side * 4 // self.read * self.written // 4 for side in x.shape[2:])
        return height, width


@functools.cache
def _bases(form: Form, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The changes of basis on both axes at once: of inputs (36, 36 or 16), weights (36, 9), results (16 or 4, 36)."""
    inputs, weights, results = (torch.tensor(each, dtype=torch.float64) for each in (_INPUT, _WEIGHT, _OUTPUT))
    if form.double:
        inputs = inputs @ torch.tensor(_DOUBLED, dtype=torch.float64)
    if form.add:
        results = torch.tensor(_SUMMED, dtype=torch.float64) @ results
    kernel = torch.kron(weights, weights)
    kernel = kernel.flip(1) if form.turned else kernel
    back = form.scale * torch.kron(results, results)
    return torch.kron(inputs, inputs).to(dtype), kernel.to(dtype), back.to(dtype)


@dataclass(frozen=True)
class _Block:
    """Rows of tiles of some images, and how many columns of tiles there are."""

    images: slice
    rows: slice
    columns: int

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Images, rows, columns."""
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start, self.columns

    def pixels(self, x: Tensor, memory: Tensor, side: int, border: int) -> Tensor:
        """Its tiles of (b, H, W, C) and a border, zero where there is no image.

        Shape: (images, side · rows + 2 border, side · columns + 2 border, C).
        """
        images, rows, columns = self.tiles
        part = _shaped(memory, images, side * rows + 2 * border, side * columns + 2 * border, x.shape[3])
        first = side * self.rows.start - border
        above = max(0, -first)
        found = x[self.images, first + above : first + part.shape[1]]
        below, right = above + found.shape[1], border + x.shape[2]
        part[:, above:below, border:right] = found
        for edge in (part[:, :above], part[:, below:], part[:, above:below, :border], part[:, above:below, right:]):
            edge.zero_()
        return part


def _blocks(x: Tensor, side: int) -> list[_Block]:
    """Those of (b, C, H, W): whole images where they are small, rows of one where they are not."""
    height, width = -(-x.shape[2] // side), -(-x.shape[3] // side)
    rows = min(height, max(1, _TILES // width))
    images = max(1, _TILES // (height * width)) if rows == height else 1
    return [
        _Block(slice(image, min(image + images, len(x))), slice(row, min(row + rows, height)), width)
        for image in range(0, len(x), images)
        for row in range(0, height, rows)
    ]


def _overlapping(part: Tensor, block: _Block, side: int) -> Tensor:
    """A view of each tile with its border.

    Shapes: (b, side · rows + 2, side · columns + 2, C) -> (side + 2, side + 2, b, rows, columns, C).
    """
    image, row, column, channel = part.stride()
    shape = (side + 2, side + 2, *block.tiles, part.shape[3])
    return part.as_strided(shape, (row, column, image, side * row, side * column, channel))


def _apart(part: Tensor, side: int) -> Tensor:
    """A view of tiles that do not overlap: (b, side · rows, side · columns, C) -> (side, side, b, rows, columns, C)."""
    images, height, width, channels = part.shape
    return part.view(images, height // side, side, width // side, side, channels).permute(2, 4, 0, 1, 3, 5)


_KEPT = threading.local()


def _memory(name: str, like: Tensor, numbers: int) -> Tensor:
    """Room for so many numbers, kept by this thread from call to call: pages touched anew cost as much as the work."""
    kept: dict[tuple[str, torch.dtype], Tensor] = _KEPT.__dict__.setdefault("kept", {})
    key = name, like.dtype
    if key not in kept or kept[key].numel() < numbers:
        with torch.inference_mode(False):  # an inference tensor could not be written to outside of it
            kept[key] = torch.empty(numbers, dtype=like.dtype)
    return kept[key]


def _shaped(memory: Tensor, *shape: int) -> Tensor:
    """The front of it."""
    return memory[: torch.Size(shape).numel()].view(shape)


def _copied(part: Tensor, memory: Tensor) -> Tensor:
    """(p, p, images, rows, columns, C) -> (p², tiles · C), contiguous."""
    flat = _shaped(memory, part.shape[0] ** 2, part[0, 0].numel())
    flat.view(part.shape).copy_(part)
    return flat


class _Work:
    """The blocks of a call, its memory, and the step that both kinds of call take."""

    def __init__(self, x: Tensor, n_out: int, form: Form) -> None:
        self.form, n_in = form, x.shape[1]
        self.blocks = _blocks(x, form.read)
        tiles = max(torch.Size(block.tiles).numel() for block in self.blocks)
        # the pixels of a block and its border are fewer than the 36 inputs of each tile
        self.pixels, self.copies = (_memory(name, x, 36 * tiles * max(n_in, n_out)) for name in ("pixels", "copies"))
        self.inputs, self.sums = _memory("inputs", x, 36 * tiles * n_in), _memory("sums", x, 36 * tiles * n_out)
        self.weights = _shaped(_memory("weights", x, 36 * n_in * n_out), 36, n_in * n_out)

    def moved(self, basis: Tensor, x: Tensor, block: _Block) -> Tensor:
        """A block's tiles of (b, H, W, C) in the other basis: (36, tiles, C)."""
        side = self.form.read
        flat = _copied(_overlapping(block.pixels(x, self.pixels, side, 1), block, side), self.copies)
        return torch.mm(basis, flat, out=_shaped(self.inputs, 36, flat.shape[1])).view(36, -1, x.shape[3])


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, form: Form) -> Tensor:
    """Compute s · S(w ∗ U(x)) + b, all that ``form`` says, with one pixel of zeros around.

    Shapes: (b, n_in, H, W), (n_out, n_in, 3, 3), (n_out,) -> (b, n_out, H', W'), with channels last in memory.
    """
    inputs, kernel, results = _bases(form, x.dtype)
    n_out = weight.shape[1 if form.turned else 0]
    work = _Work(x, n_out, form)
    weights = torch.mm(kernel, weight.reshape(-1, 9).t(), out=work.weights).view(36, *weight.shape[:2])
    weights = weights if form.turned else weights.transpose(1, 2)
    side, (height, width) = form.written, form.size(x)
    image = x.permute(0, 2, 3, 1)
    out = x.new_empty(len(x), -(-height // side) * side, -(-width // side) * side, n_out)
    for block in work.blocks:
        moved = work.moved(inputs, image, block)
        sums = torch.bmm(moved, weights, out=_shaped(work.sums, 36, moved.shape[1], n_out))
        part = _apart(out[block.images, side * block.rows.start : side * block.rows.stop], side)
        flat = torch.mm(results, sums.view(36, -1), out=_shaped(work.copies, side**2, part[0, 0].numel()))
        part.copy_(flat.view(part.shape)) if bias is None else torch.add(flat.view(part.shape), bias, out=part)
    return out[:, :height, :width].permute(0, 3, 1, 2)


def by_weight(x: Tensor, grad: Tensor, form: Form) -> Tensor:
    """The gradient by the weights of what ``form`` says of ``x``, not turned, for ``grad`` by its result.

    Shapes: (b, n_in, H, W), (b, n_out, H', W') -> (n_out, n_in, 3, 3).
    """
    inputs, kernel, results = _bases(form, x.dtype)
    n_in, n_out = x.shape[1], grad.shape[1]
    work = _Work(x, n_out, form)
    total = work.weights.view(36, n_out, n_in).zero_()
    image, wanted = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    side = form.written
    for block in work.blocks:
        moved = work.moved(inputs, image, block)
        flat = _copied(_apart(block.pixels(wanted, work.pixels, side, 0), side), work.copies)
        sums = torch.mm(results.t(), flat, out=_shaped(work.sums, 36, flat.shape[1])).view(36, -1, n_out)
        total.baddbmm_(sums.transpose(1, 2), moved)
    return torch.mm(kernel.t(), total.view(36, -1)).t().reshape(n_out, n_in, 3, 3)
