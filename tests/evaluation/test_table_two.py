"""Table II's statistics: pooled over seeds, over people, paired with the plain row, and what noise does to p.

pytest tests/evaluation/test_table_two.py
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from stargan_ray.errors import InputError
from stargan_ray.evaluation.augmentation import PAPER, PLAIN, Arm, TableTwo, gain, sign_flip
from stargan_ray.evaluation.intervals import Estimate
from stargan_ray.evaluation.report import split_estimates

PEOPLE, EACH, SEEDS, FOLDS = 40, 14, 3, 5


def arm(name: str, right: float, seed: int, kind: str = "people", seeds: int = SEEDS) -> Arm:
    """An arm that is right by chance, with the folds of people in turn."""
    rng = np.random.default_rng(seed)
    persons = np.repeat(np.arange(PEOPLE), EACH)
    folds = np.tile(persons % FOLDS, (seeds, 1)).astype(np.int64)
    return Arm(name, kind, rng.random((seeds, len(persons))) < right, folds, persons)


def lucky(rng: np.random.Generator) -> Arm:
    """An arm whose trainings are luckier or less, each on all its people."""
    plain = arm(PLAIN, 0.9, 0)
    chance = 0.9 + 0.06 * rng.standard_normal((SEEDS, FOLDS))
    right = np.take_along_axis(chance, plain.folds, axis=1)
    return replace(plain, name="x", hits=rng.random(plain.hits.shape) < right)


def table(seeds: int = SEEDS) -> TableTwo:
    arms = [arm(PLAIN, 0.8, 0, seeds=seeds), arm(f"{PLAIN} + better", 0.95, 1, seeds=seeds)]
    return TableTwo((*arms, arm(PLAIN, 0.9, 2, "images", seeds)), {"steps of every training": 400})


def test_accuracy_is_the_mean_of_the_seeds() -> None:
    one = arm(PLAIN, 0.8, 0)
    assert one.accuracy().value == pytest.approx(np.mean(one.by_seed))
    assert one.accuracy().low < one.accuracy().value < one.accuracy().high


def test_seeds_that_agree_do_not_narrow_the_interval() -> None:
    # three trainings that are right on the same images know no more of other people than one
    one = arm(PLAIN, 0.8, 0, seeds=1)
    three = replace(one, hits=np.repeat(one.hits, 3, axis=0), folds=np.repeat(one.folds, 3, axis=0))
    width = [e.high - e.low for e in (one.accuracy(), three.accuracy())]
    assert width[1] > 0.95 * width[0]


def test_a_true_gain_is_found_and_its_interval_covers_it() -> None:
    found = table().gains["people", f"{PLAIN} + better"]
    assert found.difference.low < 0.15 < found.difference.high
    assert found.difference.low > 0
    assert found.p < 0.01


def test_arms_that_are_the_same_differ_by_nothing() -> None:
    plain = arm(PLAIN, 0.8, 0)
    found = gain(replace(plain, name="x"), plain)
    assert found.difference.value == 0
    assert found.p == 1


def test_p_of_noise_is_seldom_small() -> None:
    plain = arm(PLAIN, 0.9, 0)
    found = [gain(arm("x", float(plain.hits.mean()), seed), plain).p_people for seed in range(1, 41)]
    assert np.mean(np.array(found) < 0.05) <= 0.15
    assert 0.25 < np.mean(found) < 0.75  # nor is it always large


def test_lucky_trainings_are_noise_that_people_alone_do_not_show() -> None:
    rng = np.random.default_rng(0)
    found = [gain(lucky(rng), lucky(rng)) for _ in range(40)]
    assert np.mean([g.p < 0.05 for g in found]) <= 0.15
    assert np.mean([g.p_people < 0.05 for g in found]) > 0.2


@pytest.mark.parametrize(("sums", "p"), [([1.0] * 5, 2 / 32), ([1, 1, 1, 1, -1.0], 12 / 32), ([3.0], 1.0)])
def test_sign_flip_counts_all_flips_of_few_groups(sums: list[float], p: float) -> None:
    # five groups of two images each: the sums are flipped, not the images
    halves = np.repeat(np.array(sums) / 2, 2)
    assert sign_flip(halves, np.repeat(np.arange(len(sums)), 2)) == pytest.approx(p)


def test_markdown_names_splits_gains_and_the_papers_figures_apart() -> None:
    text = table().as_markdown()
    ours, printed = text.split("paper, as printed")
    assert "| VGG16 + better | people apart |" in ours
    assert "images at random, people in both" in ours
    assert "steps of every training: 400" in ours
    assert "93.78" not in ours
    assert all(f"{value:.2f} %" in printed for value in PAPER.values())
    assert "less than the noise" in printed


def test_one_seed_is_stated_in_its_cell() -> None:
    assert "1 (how trainings vary is unknown)" in table(seeds=1).as_markdown()
    assert "3 (s.d. " in table().as_markdown()


def test_too_few_trainings_for_a_small_p_are_stated_in_its_cell() -> None:
    few = arm(PLAIN, 0.5, 0, seeds=1)
    few = replace(few, folds=few.folds % 3)
    text = TableTwo((few, replace(few, name="x", hits=np.ones_like(few.hits))), {}).as_markdown()
    assert "| 0.250 (of 3 trainings at least 0.25) |" in text
    assert "| < 0.001 |" in table().as_markdown()


def test_csv_has_every_figure() -> None:
    lines = list(csv.DictReader(io.StringIO(table().as_csv())))
    found = {(line["split"], line["row"], line["figure"]): line for line in lines}
    assert len(found) == len(lines) == 6
    line = found["people", f"{PLAIN} + better", "difference"]
    assert float(line["low"]) < float(line["value"]) < float(line["high"])
    assert line["n"] == str(PEOPLE * EACH * SEEDS)


def test_section_has_estimates_as_leaves_and_the_paper_apart() -> None:
    section = table().section()
    better = section["people"][f"{PLAIN} + better"]
    assert isinstance(better["difference"], Estimate)
    assert better["p"] == max(better["p_people"], better["p_trainings"])
    assert "difference" not in section["people"][PLAIN]
    assert section["paper_as_printed"][PLAIN] == 93.78
    plain, intervals = split_estimates(section)
    assert plain["images"][PLAIN]["accuracy"] == pytest.approx(0.9, abs=0.03)
    assert set(intervals["people"][PLAIN]["accuracy"]) == {"low", "high", "n"}


def test_what_cannot_be_compared_is_refused() -> None:
    plain = arm(PLAIN, 0.8, 0)
    with pytest.raises(InputError, match="were held out differently"):
        gain(replace(plain, folds=plain.folds[:, ::-1].copy()), plain)
    with pytest.raises(InputError, match="split kind 'people' has no arm 'VGG16'"):
        TableTwo((replace(plain, name="x"),), {})
    with pytest.raises(InputError, match="hits, folds and persons are of"):
        replace(plain, persons=plain.persons[1:])
