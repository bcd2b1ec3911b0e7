"""Pairs, verification, rank-1 and distances on constructed embeddings and against scikit-learn.

Run: python -m pytest tests/evaluation/test_identity_metrics.py
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stargan_ray.errors import InputError
from stargan_ray.evaluation.identity import best_threshold, distances, far_threshold, rank1, templates, verify
from stargan_ray.evaluation.pairs import sample_pairs, split_gallery


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _people(people=40, images=8, noise=0.6, width=16, seed=0):
    """Embeddings scattered around one direction a person: (embeddings, persons, expressions)."""
    generator = np.random.default_rng(seed)
    persons = np.repeat(np.arange(people), images)
    centres = generator.normal(size=(people, width))
    embeddings = centres[persons] + noise * generator.normal(size=(len(persons), width))
    return _unit(embeddings), persons, np.tile(np.arange(images) % 8, people)


# -- pairs --------------------------------------------------------------------------------------------------


def test_pairs_are_what_they_say_and_folds_share_no_people():
    _, persons, _ = _people()
    pairs = sample_pairs(persons, 500)
    assert pairs.same.sum() == (~pairs.same).sum() == 500
    assert ((persons[pairs.first] == persons[pairs.second]) == pairs.same).all()
    assert (pairs.first != pairs.second).all()
    assert len({*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == 1000
    people = [set(persons[np.r_[pairs.first[pairs.fold == k], pairs.second[pairs.fold == k]]]) for k in range(10)]
    assert sum(map(len, people)) == len(set.union(*people))


def test_hard_pairs_differ_in_the_person_or_the_expression_never_both():
    _, persons, shown = _people()
    pairs = sample_pairs(persons, 300, expressions=shown)
    same_expression = shown[pairs.first] == shown[pairs.second]
    assert (same_expression == ~pairs.same).all()
    assert pairs.same.sum() == 300


def test_the_seed_fixes_the_pairs():
    _, persons, _ = _people()
    first, again, other = (sample_pairs(persons, 100, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.first, again.first)
    assert np.array_equal(first.second, again.second)
    assert not np.array_equal(first.first, other.first)


def test_a_small_set_gives_every_pair_it_has_and_as_many_of_each_kind():
    pairs = sample_pairs(np.repeat(["a", "b", "c", "d"], 3), 1000)
    assert len(np.unique(pairs.fold)) == 2
    assert pairs.same.sum() == (~pairs.same).sum() == 2 * 6


@pytest.mark.parametrize(
    ("persons", "says"),
    [(["a", "a", "b", "b"], "at least 4 people"), (["a", "b", "c", "d"], "2 people with two images, got 0")],
)
def test_too_few_people_or_images_are_refused(persons, says):
    with pytest.raises(InputError, match=says):
        sample_pairs(persons, 10)


def test_gallery_and_probes_share_no_image_and_people_with_too_few_are_left_out():
    persons = np.array(["a"] * 5 + ["b"] * 4 + ["lonely"] * 3)
    probes, gallery = split_gallery(persons, 3, seed=4)
    assert not set(probes) & set(gallery)
    assert sorted(persons[gallery]) == ["a"] * 3 + ["b"] * 3
    assert sorted(persons[probes]) == ["a", "a", "b"]
    assert np.array_equal(probes, split_gallery(persons, 3, seed=4)[0])
    with pytest.raises(InputError, match="needs 2 people with 5 images or more"):
        split_gallery(persons, 4)


# -- verification -------------------------------------------------------------------------------------------


def test_the_best_threshold_is_that_of_a_search():
    generator = np.random.default_rng(0)
    for _ in range(50):
        same = generator.random(40) < 0.5
        gap = np.round(generator.normal(np.where(same, 1, 2), 0.7), 1)  # rounded: ties
        reached = ((gap < best_threshold(gap, same)) == same).mean()
        candidates = np.r_[gap - 0.05, gap + 0.05]
        assert reached == max(((gap < cut) == same).mean() for cut in candidates)


def test_good_embeddings_are_told_apart_and_random_ones_are_not():
    clear, persons, _ = _people(noise=0.1)
    pairs = sample_pairs(persons, 400)
    good = verify(clear, persons, pairs)
    assert good.accuracy.value == 1.0
    assert good.accuracy.low < 1.0  # forty people are no proof of perfection
    assert (good.auc, good.tar.value) == (1.0, 1.0)
    noise = _unit(np.random.default_rng(1).normal(size=clear.shape))
    bad = verify(noise, persons, pairs)
    assert bad.accuracy.value == pytest.approx(0.5, abs=0.06)
    assert bad.tar.value < 0.05


def test_the_threshold_of_a_fold_is_fitted_without_it():
    """One fold of people so scattered that a threshold of their own would be another: it must not leak."""
    embeddings, persons, _ = _people(noise=0.7)
    pairs = sample_pairs(persons, 400)
    ours = verify(embeddings, persons, pairs)
    for position in range(10):
        held = pairs.fold == position
        assert ours.thresholds[position] == best_threshold(ours.distances[~held], pairs.same[~held])
    right = (ours.distances < ours.thresholds[pairs.fold]) == pairs.same
    by_fold = [right[pairs.fold == fold].mean() for fold in range(10)]
    assert ours.accuracy.value == pytest.approx(np.mean(by_fold))
    assert ours.standard_error == pytest.approx(np.std(by_fold, ddof=1) / np.sqrt(10))
    assert ours.auc == pytest.approx(roc_auc_score(pairs.same, -ours.distances))


def test_true_accepts_are_counted_at_the_false_accept_rate():
    embeddings, persons, _ = _people(noise=0.7)
    pairs = sample_pairs(persons, 400)
    for far in (0.0, 0.01, 0.1):
        ours = verify(embeddings, persons, pairs, far=far)
        others = np.sort(ours.distances[~pairs.same])
        cut = others[int(far * len(others))]  # the first that may not be accepted
        assert ours.tar.value == pytest.approx((ours.distances[pairs.same] < cut).mean())


# -- rank-1 and distances -----------------------------------------------------------------------------------


def test_rank1_on_a_constructed_gallery():
    photos = np.eye(3)[[0, 0, 1, 1, 2, 2]] + 0.1
    vectors, names = templates(_unit(photos), ["ann", "ann", "bob", "bob", "cy", "cy"])
    assert names.tolist() == ["ann", "bob", "cy"]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    probes = _unit(np.array([[1, 0.2, 0], [0.1, 1, 0], [0, 1, 0.9], [0.2, 0, 1]]))
    hits = rank1(probes, ["ann", "bob", "cy", "cy"], vectors, names)
    assert hits.tolist() == [True, True, False, True]  # the third looks more like bob


def test_rank1_of_noise_is_chance():
    generator = np.random.default_rng(0)
    gallery, probes = _unit(generator.normal(size=(20, 64))), _unit(generator.normal(size=(4000, 64)))
    hits = rank1(probes, generator.integers(20, size=4000), gallery, np.arange(20))
    assert hits.mean() == pytest.approx(1 / 20, abs=0.015)


def test_a_person_who_is_not_in_the_gallery_is_refused():
    with pytest.raises(InputError, match="1 people are not in the gallery, the first is 'cy'"):
        rank1(np.eye(2), ["ann", "cy"], np.eye(2), ["ann", "bob"])


def test_distances_have_their_known_values():
    source = np.eye(4)[[0, 0, 0]]
    translation = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 0, 0]])
    found = distances(source, translation)
    assert found.squared_l2.tolist() == [0, 2, 4]
    assert found.cosine.tolist() == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.ones((2, 4)), np.full((2, 4), np.nan), np.ones(4)])
def test_embeddings_that_are_not_unit_are_refused(bad):
    with pytest.raises(InputError, match="embeddings"):
        distances(bad, bad)


# -- the threshold at a false-accept rate -------------------------------------------------------------------------


def _at(degrees):
    """Unit vectors in the plane."""
    angles = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_the_threshold_accepts_as_many_strangers_as_the_rate_allows():
    """Two people at 0° and 90°: probes lie 60, 70, 80, 85 and 30, 50, 55, 90 degrees from the other one's template."""
    templates_, names = _at([0, 90]), np.array(["a", "b"])
    probes = _at([30, 20, 10, 5, 30, 50, 55, 90])
    persons = np.array(list("aaaabbbb"))
    gaps = np.sort(2 - 2 * np.cos(np.deg2rad([60, 70, 80, 85, 30, 50, 55, 90])))
    for far, accepted in ((0.0, 0), (0.124, 0), (0.125, 1), (0.25, 2), (0.5, 4), (0.99, 7)):
        threshold = far_threshold(probes, persons, templates_, names, far)
        assert (gaps < threshold - 1e-12).sum() == accepted, far
        assert threshold == pytest.approx(gaps[accepted])


def test_the_threshold_does_not_look_at_a_persons_own_template():
    own_moved = _at([0, 1, 2, 89, 90]), _at([5, 6, 7, 80, 81])
    persons = np.array(list("aaabb"))
    thresholds = [far_threshold(each, persons, _at([0, 90]), np.array(["a", "b"]), 0.2) for each in own_moved]
    assert thresholds[0] > thresholds[1] > 0
