"""Table II's protocol: what each training sees, restarts, the same numbers in a pool, and a set that hurts.

pytest tests/runtime/test_augmentation.py
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from translated import request_all, write_translated

from stargan_ray.config import override
from stargan_ray.data.readers.studio import read_studio
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.studio import DOMAINS, StudioConfig
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.augmentation import PLAIN, TableTwo
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import augmentation_work
from stargan_ray.runtime.augmentation import AugmentationConfig, open_trainings, run_augmentation
from stargan_ray.runtime.augmentation_work import Job

SHORT = override(recipe_named("vgg16-tiny"), {"method.width": 2, "method.solver.peak": 2e-2})


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("table-two") / "studio")
    write_dataset(uri, read_studio(StudioConfig(people=8, size=32), 40))
    return open_dataset(uri)


@pytest.fixture(scope="module")
def truthful(studio: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Translations as a perfect translator would make them: the person's own picture of the target."""
    uri = str(tmp_path_factory.mktemp("translated") / "truthful")
    pictures = {
        (who, DOMAINS[expression]): row
        for row, (who, expression) in enumerate(
            zip(studio.index["identity"].to_pylist(), studio.index["expression"].to_pylist(), strict=True)
        )
    }
    people = studio.index["identity"].to_pylist()

    def picture(source: int, target: str) -> bytes:
        return studio.images(np.array([pictures[people[source], target]]))[0]

    return write_translated(uri, studio, request_all(studio, DOMAINS[:3]), picture)


@pytest.fixture
def config(studio: Dataset, truthful: str) -> AugmentationConfig:
    return AugmentationConfig(studio.uri, {"truthful": truthful}, SHORT, folds=2, seeds=(0, 1), steps=3)


def same(first: TableTwo, second: TableTwo) -> bool:
    return all(
        (a.name, a.kind) == (b.name, b.kind) and np.array_equal(a.hits, b.hits)
        for a, b in zip(first.arms, second.arms, strict=True)
    )


@pytest.mark.parametrize("kind", ["people", "images"])
def test_training_never_sees_what_is_held_out(config: AugmentationConfig, tmp_path: Path, kind: str) -> None:
    work = open_trainings(config, str(tmp_path))
    real = len(work.dataset)
    held_out: list[int] = []
    for fold in range(2):
        plan, held = work.plan(Job(kind, "truthful", 0, fold))
        trained, added = plan.rows[plan.rows < real], plan.rows[plan.rows >= real] - real
        sources = work.sets["truthful"].origins[added, 0]
        assert set(sources) == set(trained)  # translations of every training image, and of no other
        assert len(added) == 3 * len(trained)
        assert not set(trained) & set(held)
        both = set(work.persons[trained]) & set(work.persons[held])
        assert not both if kind == "people" else both
        held_out += held.tolist()
    assert sorted(held_out) == list(range(real))


def test_arms_hold_out_the_same_images_and_seeds_deal_anew(config: AugmentationConfig, tmp_path: Path) -> None:
    work = open_trainings(config, str(tmp_path))
    alone, added, other = (
        work.plan(job)
        for job in (Job("people", "", 0, 0), Job("people", "truthful", 0, 0), Job("people", "truthful", 1, 0))
    )
    assert alone[1].tolist() == added[1].tolist() != other[1].tolist()
    assert alone[0].shape.batch == added[0].shape.batch
    assert work.recipe(Job("people", "", 0, 0)) == work.recipe(Job("people", "truthful", 0, 0))


def test_a_translation_of_a_held_out_image_is_never_trained_on(config: AugmentationConfig, tmp_path: Path) -> None:
    work = open_trainings(config, str(tmp_path))
    job = Job("images", "truthful", 0, 0)
    plan, held = work.plan(job)
    work.assert_apart(job, plan, held)
    everything, _ = work.plan(job._replace(fold=1))  # trained on what fold 0 holds out
    with pytest.raises(AssertionError, match="a held-out image, or a translation of one, is trained on"):
        work.assert_apart(job, everything, held)
    assert plan.translated is not None
    assert everything.translated is not None
    planted = replace(plan, translated=replace(plan.translated, rows=everything.translated.rows))
    with pytest.raises(AssertionError, match="a held-out image, or a translation of one, is trained on"):
        work.assert_apart(job, planted, held)


def test_a_held_out_person_is_never_trained_on(config: AugmentationConfig, tmp_path: Path) -> None:
    work = open_trainings(config, str(tmp_path))
    plan, held = work.plan(Job("images", "", 0, 0))
    work.assert_apart(Job("images", "", 0, 0), plan, held)
    with pytest.raises(AssertionError, match="held-out people are trained on"):
        work.assert_apart(Job("people", "", 0, 0), plan, held)


def test_a_killed_table_goes_on_and_ends_with_the_same_numbers(
    config: AugmentationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    whole = run_augmentation(config, str(tmp_path / "whole"), on_done=lambda done, of: told.append((done, of)))
    assert told == [(done, 16) for done in range(17)]
    train, trained = augmentation_work.train_and_test, []

    def killed(*given: object) -> object:
        trained.append(given)
        if len(trained) == 6:
            raise KeyboardInterrupt
        return train(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(augmentation_work, "train_and_test", killed)
    with pytest.raises(KeyboardInterrupt):
        run_augmentation(config, str(tmp_path / "parts"))
    assert same(run_augmentation(config, str(tmp_path / "parts")), whole)
    assert len(trained) == 6 + 11
    next(Path(tmp_path / "parts" / "trainings").iterdir()).write_bytes(b"half")
    assert same(run_augmentation(config, str(tmp_path / "parts")), whole)
    assert len(trained) == 18
    plain = replace(config, arms={}, kinds=("people",))  # is there already
    assert run_augmentation(plain, str(tmp_path / "parts")).arms[0].name == PLAIN
    assert len(trained) == 18


def test_trainings_on_s3_are_found_again(config: AugmentationConfig, tmp_path: Path, s3: str) -> None:
    small = replace(config, kinds=("people",), seeds=(0,))
    table = run_augmentation(small, f"{s3}/table")
    told: list[tuple[int, int]] = []
    again = run_augmentation(small, f"{s3}/table", on_done=lambda done, of: told.append((done, of)))
    assert told == [(4, 4)]
    assert same(table, again)
    assert same(table, run_augmentation(small, str(tmp_path)))


def test_what_decides_the_numbers_decides_the_file(config: AugmentationConfig, tmp_path: Path) -> None:
    def files(changed: AugmentationConfig) -> set[str]:
        work = open_trainings(changed, str(tmp_path))
        return {work.where(start) for start in range(len(work.jobs)) if work.jobs[start].arm == arm}

    for arm in ("", "truthful"):
        first = files(config)
        assert len(first) == 8
        for changed in ({"steps": 4}, {"folds": 3}, {"seeds": (5, 6)}, {"recipe": recipe_named("vgg16-tiny")}):
            assert not first & files(replace(config, **changed))
        assert bool(first & files(replace(config, share=0.25))) == (arm == "")  # it is nothing to the plain arm
        assert files(replace(config, kinds=("images",))) < first
        renamed = replace(config.recipe, name="other", about="")
        assert files(replace(config, recipe=renamed)) == first


def test_a_pool_gives_the_same_numbers(config: AugmentationConfig, tmp_path: Path) -> None:
    import ray

    small = replace(config, kinds=("people",), seeds=(0,))
    alone = run_augmentation(small, str(tmp_path / "alone"))
    try:
        pool = run_augmentation(small, str(tmp_path / "pool"), parallel=2)
    finally:
        ray.shutdown()
    assert same(alone, pool)
    works = [open_trainings(small, str(tmp_path / name)) for name in ("alone", "pool")]
    for start in range(len(works[0].jobs)):
        first, second = (work.read(start) for work in works)
        assert first is not None
        assert second is not None
        np.testing.assert_array_equal(first[1], second[1])


def test_translations_that_do_not_show_their_target_hurt(studio: Dataset, tmp_path: Path) -> None:
    def picture(source: int, target: str) -> bytes:
        return studio.images(np.array([source]))[0]

    lying = write_translated(str(tmp_path / "lying"), studio, request_all(studio, DOMAINS), picture)
    # Two seeds of a wider network: one of so short a training learns more or less by the processor that it is on.
    recipe, both = override(SHORT, {"method.width": 6}), (2, 3)
    config = AugmentationConfig(studio.uri, {"lying": lying}, recipe, folds=2, seeds=both, kinds=("images",), steps=120)
    table = run_augmentation(config, str(tmp_path / "out"))
    plain, wrong = (arm.accuracy().value for arm in table.arms)
    assert plain > 0.28  # twice what guessing gives
    assert wrong < plain - 0.08
    assert table.facts["steps of every training"] == 120


def test_what_cannot_be_a_table_is_refused(config: AugmentationConfig, tmp_path: Path) -> None:
    for field, value, match in (
        ("folds", 1, "folds = 1: allowed are values >= 2"),
        ("seeds", (), r"seeds = \(\): allowed are one or more"),
        ("seeds", (1, 1), "each once"),
        ("kinds", ("persons",), "unknown split kind 'persons'"),
        ("share", 1.0, "share = 1.0: allowed is 0 < share < 1"),
        ("share", float("nan"), "share = nan"),
        ("steps", -1, "steps = -1"),
        ("recipe", recipe_named("identity-tiny"), "recipe identity-tiny trains identity: allowed are expression"),
    ):
        with pytest.raises(InputError, match=match):
            replace(config, **{field: value})
    with pytest.raises(InputError, match=re.escape("folds = 9: there are 8 people or images to deal")):
        run_augmentation(replace(config, folds=9), str(tmp_path))
    with pytest.raises(InputError, match="parallel = 0: allowed are values >= 1"):
        run_augmentation(config, str(tmp_path), parallel=0)


def test_images_without_people_have_no_folds_of_people(studio: Dataset, tmp_path: Path) -> None:
    from planted import GivenUnit

    from stargan_ray.data.schema import Row
    from stargan_ray.data.units import Source

    images = studio.images(np.arange(14))
    rows = tuple(Row(f"r{k:02d}", images[k], k % 7, None, "train", "x") for k in range(14))
    uri = str(tmp_path / "nameless")
    write_dataset(uri, Source({"reader": "x"}, DOMAINS, (GivenUnit(0, rows),)))
    config = AugmentationConfig(uri, {}, SHORT, folds=2, seeds=(0,), steps=1)
    with pytest.raises(InputError, match="14 rows do not say who they show; without people give kinds = images"):
        run_augmentation(config, str(tmp_path / "out"))
    table = run_augmentation(replace(config, kinds=("images",)), str(tmp_path / "out"))
    assert [arm.kind for arm in table.arms] == ["images"]
