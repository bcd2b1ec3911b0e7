"""The figures of an embedder on hand-made embeddings with known answers, and against scikit-learn and SciPy.

pytest tests/evaluation/test_verification.py
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import calibrated, calibration_of, fit_calibration
from stargan_ray.evaluation.identity import best_threshold, pair_distances
from stargan_ray.evaluation.intervals import wilson
from stargan_ray.evaluation.pairs import Pairs, sample_pairs, sample_population
from stargan_ray.evaluation.roc import auc_estimate, roc
from stargan_ray.evaluation.triplet_batches import batch_accuracy, triplet_batches
from stargan_ray.evaluation.verification import (
    KINDS,
    UNTOLD,
    Album,
    by_kind,
    identification,
    invariance,
    judge_embedder,
    judge_pairs,
    reliability,
)


def album(people=30, images=8, noise=0.5, expression=0.0, single=0, seed=0) -> Album:
    """Faces around one direction a person, moved by their expression; ``single`` people more with one image."""
    generator = np.random.default_rng(seed)
    persons = np.r_[np.repeat(np.arange(people), images), people + np.arange(single)]
    shown = np.arange(len(persons)) % 8
    centres, moves = generator.normal(size=(people + single, 16)), generator.normal(size=(8, 16))
    vectors = centres[persons] + expression * moves[shown] + noise * generator.normal(size=(len(persons), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.array([f"person-{n:03d}" for n in persons])
    return Album(vectors.astype(np.float32), names, shown)


# -- calibration --------------------------------------------------------------------------------------------


def test_the_calibration_is_the_logistic_regression_on_platts_targets() -> None:
    generator = np.random.default_rng(0)
    same = np.arange(2000) < 1000
    gap = generator.normal(np.where(same, 0.6, 1.4), 0.4).clip(0, 4)
    found = fit_calibration(gap, same)
    target = np.where(same, 1001 / 1002, 1 / 1002)

    def loss(line: np.ndarray) -> float:
        logit = line[0] * gap + line[1]
        return float((np.logaddexp(0, logit) - target * logit).sum())

    expected = minimize(loss, np.array([-1.0, 0.0])).x
    assert (found.slope, found.intercept) == pytest.approx(tuple(expected), rel=1e-3)
    assert found.threshold == best_threshold(gap, same)


def test_distances_without_an_overlap_have_a_finite_calibration() -> None:
    same = np.arange(200) < 100
    found = fit_calibration(np.where(same, 0.1, 1.9), same)
    assert -50 < found.slope < 0
    assert found.probability([0.1, 1.9]) == pytest.approx([101 / 102, 1 / 102], abs=1e-4)
    with pytest.raises(InputError, match="needs pairs of both kinds, got 5 of one person, 0 of two"):
        fit_calibration(np.ones(5), np.ones(5, bool))


def test_the_metadata_says_how_a_distance_is_to_be_read() -> None:
    same = np.arange(100) < 50
    fitted = fit_calibration(np.where(same, 0.5, 1.5) + np.linspace(0, 0.9, 100), same)
    meta = {"metrics": {"val/auc": 0.9, **fitted.metrics()}}
    assert calibration_of(meta) == fitted
    assert calibrated([0.2, 1.0], meta) == pytest.approx(fitted.probability([0.2, 1.0]))
    assert calibration_of({"metrics": {"val/threshold": 1.0}}) is None
    with pytest.raises(InputError, match="its metadata lacks val/threshold, val/calibration_slope"):
        calibrated(1.0, {"metrics": {}})


def test_probabilities_that_are_right_have_no_calibration_error_and_wrong_ones_have_theirs() -> None:
    generator = np.random.default_rng(1)
    gap = generator.uniform(0, 4, 100_000)
    line = fit_calibration(np.r_[0.5, 1.5], np.array([True, False]))  # any line
    same = generator.random(len(gap)) < line.probability(gap)
    assert reliability(gap, same, line)["error"] < 0.01
    sure = fit_calibration(np.repeat([0.0, 4.0], 500), np.repeat([True, False], 500))
    middle = np.full(1000, 1.0)
    stated = float(sure.probability(1.0))
    expected = abs(max(stated, 1 - stated) - 0.5)
    assert reliability(middle, np.arange(1000) < 500, sure)["error"] == pytest.approx(expected)


# -- pairs --------------------------------------------------------------------------------------------------


def test_people_with_one_image_are_in_pairs_of_different_people_only() -> None:
    faces = album(people=6, images=4, single=50)
    single = np.array([int(name[-3:]) >= 6 for name in faces.persons])
    for pairs in (sample_pairs(faces.persons, 40), sample_population(faces.persons, 500)):
        in_same = single[pairs.first[pairs.same]] | single[pairs.second[pairs.same]]
        assert not in_same.any()
        assert single[pairs.first[~pairs.same]].any()
    assert len(np.unique(sample_pairs(faces.persons, 40).fold)) == 6  # one person of several images a fold
    with pytest.raises(InputError, match="at least 2 people with two images, got 1"):
        sample_pairs(["a", "a", "b", "c", "d"], 10)
    with pytest.raises(InputError, match="at least 2 people with images of two expressions, got 0"):
        sample_pairs(["a", "a", "b", "b", "c", "d"], 10, expressions=[1, 1, 2, 2, 1, 2])


def test_a_population_has_every_pair_once_and_as_many_as_there_are() -> None:
    persons = np.array(["a"] * 3 + ["b"] * 2 + ["c"])
    pairs = sample_population(persons, 1000)
    assert ((persons[pairs.first] == persons[pairs.second]) == pairs.same).all()
    assert (pairs.same.sum(), (~pairs.same).sum()) == (3 + 1, 3 * 2 + 3 + 2)
    assert len({*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == 15
    for alone in (["a", "b", "c"], ["a", "a"]):
        with pytest.raises(InputError, match="a person with two images, and another person"):
            sample_population(alone, 10)


# -- the paper's figure -------------------------------------------------------------------------------------


def test_triplets_are_what_they_say_and_no_match_comes_twice() -> None:
    faces = album(people=20, images=12, single=5)
    triplets = triplet_batches(faces.persons, size=100, batches=50)
    assert triplets.anchor.shape == (9, 100)  # 20 people · 45 pairs of at most ten images
    who = faces.persons
    assert (who[triplets.anchor] == who[triplets.positive]).all()
    assert (who[triplets.anchor] != who[triplets.negative]).all()
    assert (triplets.anchor != triplets.positive).all()
    matches = np.sort(np.stack([triplets.anchor.ravel(), triplets.positive.ravel()], 1), 1)
    assert len(np.unique(matches, axis=0)) == 900
    assert len(np.unique(triplets.negative)) > 200  # drawn from everybody, people of one image too
    assert len(np.unique(matches[who[matches[:, 0]] == "person-003"])) == 10
    small = triplet_batches(["a", "a", "a", "b"])
    assert small.anchor.shape == (1, 3)
    assert (small.negative == 3).all()
    with pytest.raises(InputError, match="a person with two images, and another person"):
        triplet_batches(["a", "a"])


def test_432_of_512_is_the_papers_figure_with_its_error() -> None:
    same = np.repeat([True, False], 256)
    first = np.where(same, 1.3, 1.5)  # 1.3 itself is called the same
    first[:50], first[256:286] = 1.4, 0.2
    figure = batch_accuracy(np.stack([first, np.where(same, 0.1, 3.0)]), same, 1.3)
    assert figure["accuracy"] == wilson(432, 512)
    assert figure["accuracy"].value == 0.84375
    assert figure["standard_error"] == pytest.approx(0.01605, abs=1e-5)
    assert figure["confusion"] == [[206, 50], [30, 226]]
    assert figure["batches"] == [0.84375, 1.0]
    assert figure["mean"] == 0.921875
    assert figure["spread"] == pytest.approx(np.std([0.84375, 1.0], ddof=1))
    assert batch_accuracy(first[None], same, 1.3)["spread"] is None


# -- the curve ----------------------------------------------------------------------------------------------


def test_true_accepts_are_those_of_counting_and_a_rate_that_the_pairs_cannot_show_has_none() -> None:
    faces = album(noise=1.0)
    pairs = sample_population(faces.persons, 2000)
    gap = pair_distances(faces.embeddings, pairs)
    curve = roc(gap, pairs, faces.persons, (1e-2, 1e-3, 1e-4))
    assert (curve.same, curve.different) == (30 * 28, 2000)
    others = np.sort(gap[~pairs.same])
    for each, allowed in zip(curve.at[:2], (20, 2), strict=True):
        assert each.false_accepts == allowed
        assert each.tar.value == (gap[pairs.same] < others[allowed]).mean()
        assert (gap[~pairs.same] <= each.threshold).sum() <= allowed
    assert curve.at[2].tar is None
    section = curve.section()
    assert list(section["tar"]) == ["1e-2", "1e-3", "1e-4"]
    assert [section["tar"][name]["coarse"] for name in section["tar"]] == [True, True, True]
    assert curve.auc.value == pytest.approx(roc_auc_score(pairs.same, -gap))
    assert np.trapezoid(curve.true_accept, curve.false_accept) == pytest.approx(curve.auc.value)


def test_the_interval_of_the_area_covers_what_other_people_give() -> None:
    """Sixty draws of people: nine in ten intervals or more hold the area of a very large draw; pairs alone do not."""
    large = album(people=400, images=4, noise=1.3, seed=999)
    pairs = sample_population(large.persons, 20_000)
    truth = roc_auc_score(pairs.same, -pair_distances(large.embeddings, pairs))
    held = []
    for seed in range(60):
        faces = album(people=25, images=4, noise=1.3, seed=seed)
        pairs = sample_population(faces.persons, 1000, seed=seed)
        area = auc_estimate(pair_distances(faces.embeddings, pairs), pairs, faces.persons)
        held.append(area.low <= truth <= area.high)
    assert np.mean(held) >= 0.88
    clear = album(noise=0.05)
    pairs = sample_population(clear.persons, 1000)
    area = auc_estimate(pair_distances(clear.embeddings, pairs), pairs, clear.persons)
    assert area.value == area.high == 1.0
    assert 0.85 < area.low < 1.0  # thirty people are no proof of perfection


# -- expressions, rank-1, all together ----------------------------------------------------------------------


def test_an_embedder_of_expressions_has_no_area_and_one_of_people_has_all() -> None:
    persons, shown = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)
    names = persons.astype(str)
    eye = np.eye(16, dtype=np.float32)
    blind = invariance(Album(eye[persons], names, shown))
    fooled = invariance(Album(eye[shown], names, shown))
    assert (blind["auc"].value, fooled["auc"].value) == (1.0, 0.0)
    none = invariance(Album(eye[persons], names, np.full(80, -1)))
    assert none == {"auc": None, "why": "no row has an expression"}
    one = invariance(Album(eye[persons], names, np.zeros(80, np.int64)))
    assert "2 people with images of two expressions, got 0" in one["why"]


def test_kinds_of_pairs() -> None:
    pairs = Pairs(np.array([0, 0, 0, 0]), np.array([1, 2, 3, 4]), np.array([True, True, True, False]), np.zeros(4, int))
    found = by_kind(np.array([0.1, 0.2, 0.3, 0.4]), pairs, np.array([5, 5, 6, -1, 5]))
    assert {kind: values.tolist() for kind, values in found.items()} == {
        KINDS[0]: [0.1],
        KINDS[1]: [0.2],
        UNTOLD: [0.3],
        KINDS[2]: [0.4],
    }


def test_rank1_has_people_of_one_image_as_strangers_to_be_confused_with() -> None:
    eye = np.eye(8, dtype=np.float32)
    persons = np.array(["a", "a", "b", "b", "stranger"])
    found = identification(Album(eye[[0, 0, 1, 2, 3]], persons, np.full(5, -1)))
    assert (found["photos"], found["probes"], found["people"], found["strangers"]) == (1, 2, 3, 1)
    # the stranger is the twin of b's probe, whichever that is
    twin = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0.2], [0, 1, -0.2], [0, 1, 0]], np.float32)
    twin /= np.linalg.norm(twin, axis=1, keepdims=True)
    assert identification(Album(twin, persons, np.full(5, -1)))["accuracy"].value == 0.5
    alone = identification(Album(eye[:3], np.array(["a", "b", "c"]), np.full(3, -1)))
    assert alone["accuracy"] is None
    assert "needs 2 people with 2 images" in alone["why"]


def test_every_figure_of_a_split() -> None:
    faces = album(images=10, noise=0.4, expression=0.3, single=7)
    calibration = fit_calibration([0.2, 0.4, 1.6, 1.8], [True, True, False, False])
    scores = judge_embedder(faces, calibration, 1.3)
    section = scores.section
    assert (section["rows"], section["people"], section["people_with_one_image"]) == (307, 37, 7)
    assert section["paper"]["pairs"] == 512
    assert section["paper"]["at_own_threshold"]["threshold"] == 1.0
    assert section["lfw_protocol"]["folds"] == 10
    assert section["lfw_protocol"]["accuracy"].value > 0.9
    assert section["expressions"]["auc"].value < section["roc"]["auc"].value  # the expression does disturb it
    assert set(section["distances"]) == set(KINDS)
    means = [section["distances"][kind]["mean"] for kind in KINDS]
    assert means == sorted(means)
    without = judge_embedder(faces, None, 1.3).section
    assert without["calibration"] is None
    assert without["paper"]["at_own_threshold"] is None
    assert without["lfw_protocol"]["at_own_threshold"] is None


def test_pairs_of_a_file_fold_by_fold() -> None:
    faces = album(noise=0.4)
    drawn = sample_pairs(faces.persons, 200)
    found = judge_pairs(faces, drawn, None)
    gap = pair_distances(faces.embeddings, drawn)
    by_fold = []
    for fold in range(10):
        held = drawn.fold == fold
        cut = best_threshold(gap[~held], drawn.same[~held])
        by_fold.append(((gap[held] < cut) == drawn.same[held]).mean())
    assert found["accuracy"].value == pytest.approx(np.mean(by_fold))
    assert found["standard_error"] == pytest.approx(np.std(by_fold, ddof=1) / np.sqrt(10))
    one = judge_pairs(faces, Pairs(drawn.first, drawn.second, drawn.same, np.zeros(400, int)), None)
    assert (one["folds"], one["accuracy"]) == (1, None)
    assert one["roc"]["auc"].value == pytest.approx(roc_auc_score(drawn.same, -gap))
    few = Pairs(drawn.first[:3], drawn.second[:3], np.ones(3, bool), np.zeros(3, int))
    with pytest.raises(InputError, match="all of one kind"):
        judge_pairs(faces, few, None)
