"""Iterations of a method at the tiny size against the textbook's (``textbook.py``), in images per second.

python benchmarks/step.py                     stargan-v2
python benchmarks/step.py stargan-v1 laun     these

python benchmarks/step.py all                 every method
python benchmarks/step.py published           stargan-v2 with its published networks at 64 px: a quarter of an hour
python benchmarks/step.py published --peer X  beside them the iteration of a checkout of the published code in folder X

The textbook recomputes everything and freezes nothing; both compute the same mathematics (the equality is a test:
tests/methods). The tiny recipe's own iteration, with its cheaper mathematics, stands beside them.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from measure import alternate, report, rounds, throughput  # isort: skip
from peer import Peer  # isort: skip
from textbook import Plain, TextbookV1, TextbookV2  # isort: skip
from stargan_ray.errors import unknown
from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.methods.laun import LAUN
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.models.expression import ExpressionClassifier
from stargan_ray.models.features import maps_of_classifier
from stargan_ray.models.winograd_layer import with_winograd
from stargan_ray.recipes import recipe_named
from stargan_ray.schedules import LinearDecay
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

BATCH, SIZE, DOMAINS = 16, 32, 8
Work = dict[str, Callable[[], object]]


def make_batch(batch: int = BATCH, size: int = SIZE) -> dict[str, Tensor]:
    """Random images and labels of one step."""
    images = {name: torch.rand(batch, 3, size, size) * 2 - 1 for name in ("source", "reference", "reference2")}
    return images | {name: torch.randint(DOMAINS, (batch,)) for name in ("source_label", "target_label")}


def fresh(method: Any, size: int = SIZE) -> dict[str, nn.Module]:
    """The same networks for everybody."""
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = method.networks(size, DOMAINS)
    return networks


def helpers_of(method: Any) -> dict[str, nn.Module]:
    """The frozen helpers of a method that has some: networks as the demo trains them, with random weights."""
    found: dict[str, nn.Module] = {}
    if "features" in method.helpers:
        filters = ExpressionClassifier(DOMAINS, width=8, dropout=0.0, input_size=SIZE, centre=0.7, standardize=True)
        found["features"] = maps_of_classifier(filters)
    if "identity" in method.helpers:
        (found["identity"],) = recipe_named("identity-tiny").method.networks(SIZE, DOMAINS).values()
    return {name: network.eval().requires_grad_(False) for name, network in found.items()}


def make_step(method: Any, batch: dict[str, Tensor], steps: int = 1, *, winograd: bool = True) -> Callable[[], object]:
    """Our iteration, so many times."""
    images, _, size, _ = batch["source"].shape
    networks = fresh(method, size)
    if winograd:
        networks = {name: with_winograd(network) for name, network in networks.items()}
    averaged = {name: copy.deepcopy(networks[name]).requires_grad_(False) for name in method.averaged}
    optimizers = {name: method.optimizer(name, list(net.parameters())) for name, net in networks.items()}
    state = State(method, networks, networks, helpers_of(method), averaged, optimizers)
    worker = LocalWorker()

    def work() -> None:
        for _ in range(steps):
            run_step(state, worker, [(batch, lambda _, width: torch.randn(images, width))], ema=0.999)

    return work


def stargan_v2(name: str) -> tuple[Work, dict[str, int]]:
    """What is timed, and the images that each takes."""
    tiny = recipe_named(f"{name}-tiny").method
    assert isinstance(tiny, StarGANv2)
    same = replace(
        tiny,
        compose="image",
        r1_every=1,
        reference_every=1,
        lambda_cls=LinearDecay(0.0, 0),
        lambda_ds=LinearDecay(1.0, 0),
    )
    batch = make_batch()
    work = {
        "textbook": TextbookV2(same, fresh(same), batch),
        "ours": make_step(same, batch),
        "folded_ours": make_step(replace(same, patch=2, first=32, first_critic=32, largest=64), batch),
        "tiny_recipe": make_step(tiny, batch),
    }
    return work, dict.fromkeys(work, BATCH)


def published(peer: str) -> None:
    """StarGAN v2 with its published widths at 64 px, batches of 8, every core; some four minutes a round."""
    torch.set_num_threads(os.cpu_count() or 1)
    method, batch = StarGANv2(lambda_ds=LinearDecay(1.0, 0)), make_batch(8, 64)
    work: Work = {
        "textbook": TextbookV2(method, fresh(method, 64), batch),
        "plain_convolutions": make_step(method, batch, winograd=False),
        "ours": make_step(method, batch),
    }
    if peer:
        work["peer"] = Peer(peer, method, batch, DOMAINS)
    seconds = alternate(rounds(3), **work)
    ratios = {name: throughput(seconds, name, "textbook") for name in work if name != "textbook"}
    command = "python benchmarks/step.py published" + (" --peer PATH" if peer else "")
    report("step-64", command, seconds, batch=8, size=64, of_textbook=ratios)


def stargan_v1(name: str) -> tuple[Work, dict[str, int]]:
    """As ``stargan_v2``: five updates of D for one of G as published, then the recipe's own; ten of D each time."""
    tiny = recipe_named(f"{name}-tiny").method
    assert isinstance(tiny, StarGANv1)
    same = replace(tiny, compose="image", n_critic=5, gp_every=1, average=False)
    batch = make_batch()
    textbook = TextbookV1(same, fresh(same), batch, helpers_of(same).get("features"))
    work: Work = {
        "textbook": lambda: [textbook() for _ in range(2)],
        "ours": make_step(same, batch, steps=10),
        "tiny_recipe": make_step(tiny, batch, steps=10),
    }
    return work, dict.fromkeys(work, BATCH * 10)


def by_its_losses(name: str) -> tuple[Work, dict[str, int]]:
    """A method that is not written out in the textbook: its own losses, plainly, and the recipe's own iteration."""
    tiny = recipe_named(f"{name}-tiny").method
    assert isinstance(tiny, StarGANv2 | FAGANStyle)
    changes: dict[str, Any] = {"compose": "image", "r1_every": 1}
    if isinstance(tiny, StarGANv2):
        changes |= {"reference_every": 1}
    same = replace(tiny, **changes)
    batch = make_batch()
    work: Work = {
        "textbook": Plain(same, fresh(same), batch, helpers_of(same)),
        "ours": make_step(same, batch),
        "tiny_recipe": make_step(tiny, batch),
    }
    return work, dict.fromkeys(work, BATCH)


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    known = (StarGANv2.name, StarGANv1.name, LAUN.name, StarGANv2Identity.name, FAGANStyle.name)
    parser = argparse.ArgumentParser()
    parser.add_argument("methods", nargs="*", default=[StarGANv2.name])
    parser.add_argument("--peer", default="")
    flags = parser.parse_args()
    asked = flags.methods
    if asked == ["published"]:
        published(flags.peer)
        return
    if flags.peer:
        raise SystemExit("--peer: a checkout has the published networks alone; it goes with the word published")
    for name in known if asked == ["all"] else asked:
        if name not in known:
            raise SystemExit(str(unknown("method", name, known)))
        written = {StarGANv2.name: stargan_v2, StarGANv1.name: stargan_v1, LAUN.name: stargan_v1}
        work, images = written.get(name, by_its_losses)(name)
        seconds = alternate(10, **work)
        speeds = {key: round(images[key] / sorted(seconds[f"{key}_cpu"])[5], 1) for key in work}
        file = "step-32" if name == StarGANv2.name else f"step-32-{name}"
        report(
            file,
            f"python benchmarks/step.py {name}",
            seconds,
            batch=BATCH,
            size=SIZE,
            images={key: images[key] for key in work},
            images_per_second_of_processor_time=speeds,
        )


if __name__ == "__main__":
    main()
