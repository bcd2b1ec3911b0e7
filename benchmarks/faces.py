"""Generated faces a second on one core, JPEG included, beside decoding the same JPEGs.

python benchmarks/faces.py
"""

from __future__ import annotations

import statistics

import torch
from measure import alternate, report

from stargan_ray.data.decode import decode
from stargan_ray.data.faces import FacesConfig, generate

COUNT = 100


def main() -> None:
    """Measure at 64 px and report."""
    torch.set_num_threads(1)
    config = FacesConfig(people=50, size=64)
    images = [row.image for row, _ in generate(config, 0, COUNT)]
    seconds = alternate(
        8,
        decode=lambda: [decode(image, 64) for image in images],
        generate=lambda: list(generate(config, 0, COUNT)),
    )
    rate = COUNT / statistics.median(seconds["generate"])
    report("faces-64", "python benchmarks/faces.py", seconds, faces_per_second=round(rate, 1))


if __name__ == "__main__":
    main()
