"""The loop and its checkpoints: resume is equality bit for bit, nothing half-written is loaded, failures are one line.

pytest tests/training/test_loop.py
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import RECIPE, batches_of, differing, run, state_of, tensors, with_train
from torch import Tensor

from stargan_ray import losses
from stargan_ray.config import from_json
from stargan_ray.data import storage, transforms
from stargan_ray.data.pools import load_pool
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import Augment, to_float
from stargan_ray.errors import InputError
from stargan_ray.training.checkpoint import Checkpoints, load_folder, read_meta, recipe_of, save_folder
from stargan_ray.training.loop import schedules
from stargan_ray.training.parts import cut
from stargan_ray.training.recording import Hooks
from stargan_ray.training.step import NonFiniteError, State, run_step
from stargan_ray.training.weights import load_matching
from stargan_ray.training.worker import LocalWorker


@dataclass
class Recording:
    """A recorder that remembers and asks the run to end after some step."""

    stop_at: int = -1
    seen: dict[int, dict[str, float]] = field(default_factory=dict)
    images: list[tuple[int, str, bytes]] = field(default_factory=list)
    state: State | None = None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.seen.setdefault(step, {}).update(values)

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        pass

    def image(self, step: int, name: str, png: bytes) -> None:
        self.images.append((step, name, png))

    def secure(self) -> None:
        pass

    def stop_requested(self) -> bool:
        return self.state is not None and self.state.step == self.stop_at


def checkpoints(folder: Path, **fields: Any) -> Checkpoints:
    return Checkpoints(str(folder), **fields)


@pytest.fixture(scope="module")
def uninterrupted(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Recording]:
    """12 steps at once: an epoch has 10, a window 8."""
    state, records = state_of(), Recording()
    outcome = run(dataset, RECIPE, state, checkpoints(tmp_path_factory.mktemp("whole")), recorder=records)
    assert (outcome.step, outcome.finished) == (12, True)
    return tensors(state), records


# -- resume ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [1, 5, 8, 11])
def test_resume_equals_no_interruption_bit_for_bit(
    stop_at: int, dataset: Dataset, uninterrupted: tuple[dict[str, Tensor], Recording], tmp_path: Path
) -> None:
    """After the first step, in the middle of a window and of an epoch, at a window's end, in the second epoch."""
    before = state_of()
    outcome = run(dataset, RECIPE, before, checkpoints(tmp_path), recorder=Recording(stop_at, state=before))
    assert (outcome.step, outcome.finished) == (stop_at, False)
    assert outcome.checkpoint.endswith(f"step-{stop_at:08d}")

    torch.manual_seed(999)  # whatever a new process draws on its own must not matter
    after = state_of(with_train(seed=5))  # initialised otherwise: every tensor has to come from the checkpoint
    assert checkpoints(tmp_path).load_latest(after)
    assert differing(tensors(before), tensors(after)) == []
    records = Recording()
    outcome = run(dataset, RECIPE, after, checkpoints(tmp_path), recorder=records)
    assert (outcome.step, outcome.finished) == (12, True)
    whole, recorded = uninterrupted
    assert differing(whole, tensors(after)) == []
    for name in ("schedule/lambda_id", "schedule/lambda_ds", "rate/generator"):
        assert records.seen[12][name] == recorded.seen[12][name]


def test_nothing_moves_without_training(dataset: Dataset, tmp_path: Path) -> None:
    """A finished run that is started again ends where it was."""
    state = state_of()
    run(dataset, with_train(steps=2), state, checkpoints(tmp_path))
    before = tensors(state)
    outcome = run(dataset, with_train(steps=2), state, checkpoints(tmp_path))
    assert (outcome.step, outcome.finished) == (2, True)
    assert differing(before, tensors(state)) == []


def test_accumulation_of_the_loop_equals_the_full_batch(dataset: Dataset, tmp_path: Path) -> None:
    """The parts of a share get the augmentation and the noise that the whole share has."""
    whole, cut = state_of(), state_of()
    run(dataset, with_train(steps=1), whole, checkpoints(tmp_path / "a"))
    run(dataset, with_train(steps=1, accumulate=2), cut, checkpoints(tmp_path / "b"))
    for name, value in tensors(whole).items():
        if "adam" in name and name.endswith("exp_avg"):  # without momentum: the gradient itself
            torch.testing.assert_close(tensors(cut)[name], value, rtol=1e-3, atol=1e-4 * float(value.abs().max() + 1))


def test_records_are_secured_before_every_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    kept, found = checkpoints(tmp_path), []

    class Securing(Recording):
        def secure(self) -> None:
            found.append((max(self.seen), kept.names()))

    recipe = with_train(steps=4, checkpoint_every=2, report_every=1)
    run(dataset, recipe, state_of(recipe), kept, recorder=Securing())
    assert found == [(2, []), (4, ["step-00000002"])]


# -- what a checkpoint is --------------------------------------------------------------------------------------


def test_a_checkpoint_is_safetensors_and_a_readable_account(dataset: Dataset, tmp_path: Path) -> None:
    recipe = with_train(steps=2)
    outcome = run(dataset, recipe, state_of(), checkpoints(tmp_path))
    folder = Path(outcome.checkpoint)
    names = {"generator", "mapping", "style_encoder", "discriminator"}
    averages = {f"{n}.average" for n in names - {"discriminator"}}
    stems = names | averages | {f"{n}.optimizer" for n in names}
    assert {path.name for path in folder.iterdir()} == {f"{n}.safetensors" for n in stems} | {"meta.json"}
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["step"], meta["domains"]) == (2, [])
    assert meta["metrics"]["d_latent/real"] > 0
    assert from_json(meta["recipe"]) == recipe == recipe_of(folder)


def test_a_half_written_checkpoint_is_never_loaded(dataset: Dataset, tmp_path: Path) -> None:
    kept, state = checkpoints(tmp_path), state_of()
    run(dataset, with_train(steps=2), state, kept)
    shutil.copytree(tmp_path / "step-00000002", tmp_path / "step-00000009")
    (tmp_path / "step-00000009" / "meta.json").unlink()
    assert kept.names() == ["step-00000002"]
    assert kept.best_name() == "step-00000002"
    fresh = state_of(with_train(seed=5))
    assert kept.load_latest(fresh)
    assert fresh.step == 2
    assert differing(tensors(state), tensors(fresh)) == []
    with pytest.raises(InputError, match=r"no meta\.json, so this is not a complete checkpoint"):
        read_meta(tmp_path / "step-00000009")


def test_meta_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda uri, data: written.append(Path(uri).name) or write(uri, data))
    checkpoints(tmp_path).save(state_of(), {})
    assert written.index("meta.json") == len(written) - 1 > 0


def test_no_checkpoint_is_no_resume(tmp_path: Path) -> None:
    assert checkpoints(tmp_path / "none").load_latest(state_of()) is False
    with pytest.raises(InputError, match="no complete checkpoint"):
        checkpoints(tmp_path / "none").best_name()


@pytest.mark.parametrize(
    ("scores", "higher", "best"),
    [
        ((0.2, 0.9, 0.5, 0.4), True, 2),
        ((0.2, 0.9, 0.1, 0.4), False, 3),
        ((0.9, 0.9, 0.9, 0.9), True, 1),
        ((float("nan"), 0.3, 0.2, 0.1), True, 2),
        ((0.3, float("nan"), None, 0.2), True, 1),
        ((None, None, None, None), True, 4),
    ],
)
def test_the_best_and_the_last_two_are_kept(
    scores: tuple[float | None, ...], higher: bool, best: int, tmp_path: Path
) -> None:
    kept, state = checkpoints(tmp_path, best="val/score", higher_is_better=higher), state_of()
    for step, score in enumerate(scores, 1):
        state.step = step
        kept.save(state, {"metrics": {} if score is None else {"val/score": score}})
        assert f"step-{step:08d}" in kept.names()
        assert len(kept.names()) <= 3
    assert kept.best_name() == f"step-{best:08d}"
    assert kept.names() == sorted({f"step-{best:08d}", "step-00000003", "step-00000004"})


def test_without_a_metric_the_last_two_are_kept(tmp_path: Path) -> None:
    kept, state = checkpoints(tmp_path), state_of()
    for state.step in (1, 2, 3):
        kept.save(state, {})
    assert kept.names() == ["step-00000002", "step-00000003"]


# -- damage ----------------------------------------------------------------------------------------------------


def one_line(caught: pytest.ExceptionInfo[InputError], *words: str) -> None:
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_folder(state_of(), tmp_path / "saved", {})
    return tmp_path / "saved"


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
@pytest.mark.parametrize("name", ["generator", "generator.average", "mapping.optimizer"])
def test_a_damaged_file_is_one_line(name: str, damage: str, saved: Path) -> None:
    state = state_of()
    run_one_step(state)  # so that the optimisers have something to save
    save_folder(state, saved, {})
    path = saved / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no tensors at all"}[damage])
    with pytest.raises(InputError) as caught:
        load_folder(state_of(), saved)
    one_line(caught, str(path), "damaged")


def run_one_step(state: State) -> None:
    image = torch.zeros(2, 3, 32, 32)
    image[:, :, ::3] = 0.5
    label = torch.tensor([0, 1])
    batch = dict.fromkeys(("source", "reference", "reference2"), image)
    batch |= dict.fromkeys(("source_label", "target_label"), label)
    run_step(state, LocalWorker(), [(batch, lambda name, width: torch.ones(2, width))], ema=0.9)


def test_a_missing_file_is_one_line(saved: Path) -> None:
    (saved / "mapping.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        load_folder(state_of(), saved)
    one_line(caught, str(saved / "mapping.safetensors"), "no such file")


def test_weights_of_another_config_are_one_line(saved: Path) -> None:
    wider = replace(RECIPE, method=replace(RECIPE.method, mapping_hidden=7))
    with pytest.raises(InputError) as caught:
        load_folder(state_of(wider), saved)
    one_line(caught, "mapping.safetensors", "has shape (8, 6)", "the config needs (8, 7)")
    plain = replace(RECIPE, method=replace(RECIPE.method, conditional_critic=False))
    with pytest.raises(InputError) as caught:
        load_folder(state_of(plain), saved)
    one_line(caught, "discriminator.safetensors", "'identity.weight' is on one side only")


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not readable as JSON"), ('{"format": 99, "step": 1}', "format = 99; allowed is 1")]
)
def test_an_unreadable_account_is_one_line(text: str, words: str, saved: Path) -> None:
    (saved / "meta.json").write_text(text)
    with pytest.raises(InputError) as caught:
        load_folder(state_of(), saved)
    one_line(caught, str(saved / "meta.json"), words)


def test_a_start_from_another_run_takes_what_fits(saved: Path) -> None:
    state = state_of(replace(RECIPE, method=replace(RECIPE.method, conditional_critic=False), name="x"))
    path = saved / "discriminator.safetensors"
    values = load_file(path)
    values["head.bias"] = torch.ones(3)  # three domains instead of eight
    save_file(values, path)
    taken, fresh = load_matching(state.networks["discriminator"], path)
    assert fresh == ["head.bias"]
    assert set(taken) == set(values) - {"head.bias", "identity.weight"}
    assert torch.equal(state.networks["discriminator"].state_dict()["stem.weight"], values["stem.weight"])


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one checkpoint and no second."""
    mount = tmp_path / "small-disk"
    mount.mkdir()
    sized = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(sized, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize("full", ["storage", "scratch"])
def test_a_full_disk_is_one_line_and_the_checkpoint_before_is_intact(
    full: str, full_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage itself, or the temporary folder in which a checkpoint is gathered."""
    folder = full_disk / "run" if full == "storage" else tmp_path / "run"
    kept, state = checkpoints(folder), state_of()
    run_one_step(state)
    kept.save(state, {})
    before = tensors(state)
    if full == "scratch":
        monkeypatch.setattr("tempfile.tempdir", str(full_disk))
    filler = full_disk / "filler"
    room = shutil.disk_usage(full_disk).free
    filler.write_bytes(bytes(max(0, room - 64_000)))
    run_one_step(state)
    with pytest.raises(InputError) as caught:
        kept.save(state, {})
    one_line(caught, "the disk is full" if full == "storage" else "the one before it is intact")
    assert [path.name for path in folder.rglob("step-*")] == ["step-00000001"]  # no half of the second
    filler.unlink()
    monkeypatch.undo()
    restored = state_of(with_train(seed=5))
    assert kept.load_latest(restored)
    assert differing(before, tensors(restored)) == []
    kept.save(state, {})  # with room again the same run goes on
    assert kept.names() == ["step-00000001", "step-00000002"]
    assert kept.load_latest(restored)
    assert differing(tensors(state), tensors(restored)) == []


def test_a_file_that_may_not_grow_is_one_line_too(tmp_path: Path) -> None:
    kept, state = checkpoints(tmp_path), state_of()
    run_one_step(state)
    kept.save(state, {})
    before = tensors(state)
    run_one_step(state)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(InputError) as caught:
            kept.save(state, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    one_line(caught, "cannot write the checkpoint of step 2: ", "the one before it is intact")
    restored = state_of(with_train(seed=5))
    assert kept.load_latest(restored)
    assert differing(before, tensors(restored)) == []


# -- records and milestones ------------------------------------------------------------------------------------


def test_reports_carry_terms_rates_schedules_and_speed(uninterrupted: tuple[dict[str, Tensor], Recording]) -> None:
    seen = uninterrupted[1].seen
    assert sorted(seen) == [5, 10, 12]
    for step, values in seen.items():
        assert {"d_latent/r1", "g_latent/id", "g_reference/cyc", "rate/mapping"} <= values.keys()
        assert values["schedule/lambda_id"] == RECIPE.method.lambda_id(step - 1)  # type: ignore[union-attr]
        assert values["speed/images_per_second"] > 0
        assert 0 <= values["speed/data_wait_share"] <= 1
        assert values["memory/rss_bytes"] > 1e7
    assert schedules(RECIPE.method, 0) == {"lambda_cls": 0.0, "lambda_ds": 1.0, "lambda_id": 0.2}


def test_validation_samples_and_checkpoints_are_made_when_due(dataset: Dataset, tmp_path: Path) -> None:
    recipe = with_train(steps=7, validate_every=3, sample_every=2, checkpoint_every=3, best="val/score")
    judged: list[list[str]] = []

    def validate(networks: dict[str, Any]) -> dict[str, float]:
        judged.append(sorted(networks))
        assert not any(net.training for n, net in networks.items() if n != "discriminator")
        return {"val/score": -float(len(judged))}

    records = Recording()
    kept = checkpoints(tmp_path, best="val/score")
    hooks = Hooks(validate, lambda networks: b"png")
    outcome = run(dataset, recipe, state_of(recipe), kept, recorder=records, hooks=hooks)
    assert [step for step in records.seen if "val/score" in records.seen[step]] == [3, 6, 7]
    assert judged[0] == ["discriminator", "generator", "identity", "mapping", "style_encoder"]
    assert records.images == [(step, "samples", b"png") for step in (2, 4, 6, 7)]
    assert kept.names() == ["step-00000003", "step-00000006", "step-00000007"]
    assert outcome.metrics["val/score"] == -3.0


def test_the_judged_networks_are_the_averages(dataset: Dataset, tmp_path: Path) -> None:
    state = state_of()
    seen: dict[str, Any] = {}
    recipe = with_train(steps=1)
    run(dataset, recipe, state, checkpoints(tmp_path), hooks=Hooks(lambda networks: seen.update(networks) or {}))
    for name in ("generator", "mapping", "style_encoder"):
        assert seen[name] is state.averaged[name]
    assert seen["identity"] is state.helpers["identity"]


def test_a_bad_batch_ends_the_run_and_keeps_the_last_checkpoint(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, state = with_train(steps=6, checkpoint_every=2), state_of()
    apply = transforms.apply

    def planted(images: Tensor, drawn: Any) -> Tensor:
        x = apply(images, drawn)
        return x * float("nan") if state.step == 3 else x

    monkeypatch.setattr(transforms, "apply", planted)
    with pytest.raises(NonFiniteError, match="step 3, d_latent"):
        run(dataset, recipe, state, checkpoints(tmp_path))
    assert checkpoints(tmp_path).names() == ["step-00000002"]
    assert all(value.isfinite().all() for value in tensors(state).values())


def test_a_worker_waits_for_its_share_alone(dataset: Dataset) -> None:
    """Two of two workers' batches, cut and augmented apart, are the batch of one."""

    @dataclass
    class Rank(LocalWorker):
        rank: int
        world_size: int

        def __post_init__(self) -> None:
            super().__init__()

    def first(worker: Any) -> tuple[Any, Tensor]:
        batches = batches_of(dataset, RECIPE, worker)
        (part,) = cut(RECIPE, next(iter(batches.steps(7, 8))), batches.lanes, 7)
        return part[0], part[1]("latent", 3)

    whole, noise = first(LocalWorker())
    parts = [first(Rank(rank, 2)) for rank in range(2)]
    for name, value in whole.items():
        assert torch.equal(torch.cat([batch[name] for batch, _ in parts]), value)
    assert torch.equal(torch.cat([normal for _, normal in parts]), noise)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_identity_target_of_an_image_sees_the_draw_that_the_generator_sees(
    dataset: Dataset, tmp_path: Path, accumulate: int
) -> None:
    """f(source) is what G and D are told and what L_id holds the fake to: it must be of the augmented source itself."""
    strong = Augment(crop=0.0, rotation_degrees=30.0, scale=(0.7, 1.3), brightness=0.4, contrast=0.4, saturation=0.4)
    recipe = replace(with_train(steps=2, accumulate=accumulate), data=replace(RECIPE.data, augment=strong))
    state = state_of(recipe)
    embedder = state.helpers["identity"]
    told: list[tuple[Tensor, Tensor]] = []  # what G gets: image and embedding
    compared: list[Tensor] = []  # what L_id holds a fake to
    judged: list[Tensor] = []  # whom D is told that its image must show
    distance = losses.identity_distance
    state.networks["generator"].register_forward_pre_hook(lambda _, given: told.append((given[0], given[2])))
    state.networks["discriminator"].register_forward_pre_hook(lambda _, given: judged.append(given[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "identity_distance", lambda a, b: compared.append(a) or distance(a, b))
        run(dataset, recipe, state, Checkpoints(str(tmp_path)))
    # the cycle's input is a fake, which has a graph; it goes with the embedding of its source
    sources = [(image, embedding) for image, embedding in told if image.grad_fn is None]
    assert len(sources) >= 2 * 4 * accumulate
    for image, embedding in sources:
        torch.testing.assert_close(embedding, embedder(image))
    assert len(compared) == 2 * 2 * accumulate
    assert len(judged) == 2 * 6 * accumulate  # a real and a fake in both updates of D, a fake in both of G
    for target in compared + judged:
        assert any(torch.allclose(target, embedder(image)) for image, _ in sources)
    raw = to_float(torch.from_numpy(load_pool(dataset, np.arange(len(dataset)), 32)))
    assert all((image[0] - raw).abs().mean((1, 2, 3)).min() > 0.02 for image, _ in sources)  # augmented they were
