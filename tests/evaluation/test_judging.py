"""Verdicts: copy-input keeps the person and changes nothing, a perfect translator does both, all by one code.

The "faces" carry their truth in pixels: person in the first channel, expression in the second; so the judges
are exact and every figure is known beforehand.

Run: python -m pytest tests/evaluation/test_judging.py
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stargan_ray.errors import InputError
from stargan_ray.evaluation.evidence import joined, look_at_translations
from stargan_ray.evaluation.intervals import is_above
from stargan_ray.evaluation.judging import (
    FIGURES,
    Judges,
    Known,
    background_l1,
    compare,
    judge,
    judge_real,
    real_verdict,
    verdict,
)
from stargan_ray.evaluation.translations import Faces, copies, every_target

PEOPLE, DOMAINS, SIZE = 6, 4, 8
NAMES = ["neutral", "happiness", "sadness", "surprise"]


def _draw(persons, labels):
    """Images whose first row of channel 0 / channel 1 is the one-hot person / expression."""
    images = torch.zeros(len(persons), 3, SIZE, SIZE)
    images[:, 0, 0] = F.one_hot(torch.as_tensor(persons), SIZE).float()
    images[:, 1, 0] = F.one_hot(torch.as_tensor(labels), SIZE).float()
    return images


def _faces(labels):
    persons = np.repeat(np.arange(PEOPLE), len(labels))
    everything = torch.tensor(list(labels) * PEOPLE)
    return Faces(_draw(persons, everything), everything, persons)


def _embed(images):
    return F.normalize(images[:, 0, 0], dim=1)


JUDGES = Judges(expression=lambda images: images[:, 1, 0, :DOMAINS] * 20, identity=_embed)
SOURCES, GALLERY = _faces([0, 2]), _faces([1, 3])
REQUESTS = every_target(SOURCES.labels, DOMAINS)


def _translations(person_of, batch=5):
    """The wanted expression on the face of ``person_of(source person)``."""
    for start in range(0, len(REQUESTS), batch):
        source, target = REQUESTS.source[start : start + batch], REQUESTS.target[start : start + batch]
        yield _draw(person_of(SOURCES.persons[source]), target)


def _values(verdict):
    return {name: estimate.value for name, estimate in verdict.estimates().items()}


def test_copying_the_input_has_distance_zero_and_gains_nothing():
    verdict = judge(copies(SOURCES, REQUESTS, batch=5), SOURCES, REQUESTS, GALLERY, JUDGES)
    assert _values(verdict) == {
        "target_expression_accuracy": 0.0,
        "rank1": 1.0,
        "tar": 1.0,
        "similarity_distance": 0.0,
        "similarity_cosine": 0.0,
        "expression_gain": 0.0,
        "background_l1": 0.0,
    }
    assert set(verdict.values) == {name for name in FIGURES if not name.startswith("training")}
    assert verdict.estimates()["rank1"].low < 1  # six people prove little


def test_a_perfect_translator_changes_the_expression_and_keeps_the_person():
    verdict = judge(_translations(lambda person: person), SOURCES, REQUESTS, GALLERY, JUDGES)
    values = _values(verdict)
    assert (values["target_expression_accuracy"], values["rank1"], values["similarity_distance"]) == (1, 1, 0)
    assert values["expression_gain"] == pytest.approx(1, abs=1e-6)
    assert np.array_equal(verdict.confusion, np.diag(np.bincount(REQUESTS.target)))


def test_a_translator_that_swaps_people_is_found_out():
    verdict = judge(_translations(lambda person: (person + 1) % PEOPLE), SOURCES, REQUESTS, GALLERY, JUDGES)
    values = _values(verdict)
    assert (values["target_expression_accuracy"], values["rank1"]) == (1, 0)
    assert (values["similarity_distance"], values["similarity_cosine"]) == (2, 1)


def test_one_wrong_person_is_that_share_of_rank1():
    verdict = judge(_translations(lambda person: np.where(person == 2, 3, person)), SOURCES, REQUESTS, GALLERY, JUDGES)
    assert _values(verdict)["rank1"] == pytest.approx(1 - 1 / PEOPLE)
    assert np.unique(verdict.persons[verdict.values["rank1"] == 0]).tolist() == [2]


def test_the_comparison_is_paired_and_only_of_the_same_requests():
    copied = judge(copies(SOURCES, REQUESTS), SOURCES, REQUESTS, GALLERY, JUDGES)
    perfect = judge(_translations(lambda person: person), SOURCES, REQUESTS, GALLERY, JUDGES)
    difference = compare(perfect, copied)
    assert difference["target_expression_accuracy"].value == 1
    assert is_above(difference["target_expression_accuracy"])
    assert not is_above(difference["rank1"])
    with pytest.raises(InputError, match="same requests"):
        compare(perfect, judge_real(SOURCES, GALLERY, JUDGES))


def test_the_judges_on_real_images():
    verdict = judge_real(SOURCES, GALLERY, JUDGES)
    assert _values(verdict) == {
        "target_expression_accuracy": 1,
        "rank1": 1,
        "tar": 1,
        "similarity_distance": 0,
        "similarity_cosine": 0,
    }


def test_where_nobody_is_named_a_translation_is_told_from_other_photos_alone():
    lone = SOURCES.take(np.arange(0, len(SOURCES), 2))  # one photo each
    others = np.array([1, 0, 5, 2, 3, 4])
    requests = every_target(lone.labels, DOMAINS)
    known = Known.of(lone, None, JUDGES)

    def judged(images):
        return verdict(joined(list(look_at_translations(images, lone, requests, JUDGES))), requests, known)

    copied = _values(judged(copies(lone, requests)))
    assert (copied["rank1"], copied["tar"], copied["similarity_distance"]) == (1, 1, 0)
    swapped = _values(judged([lone.take(others[requests.source]).images]))
    assert (swapped["rank1"], swapped["tar"], swapped["similarity_distance"]) == (0, 0, 2)
    assert _values(real_verdict(known)) == {"target_expression_accuracy": 1}


def test_a_section_has_each_target_and_the_confusion():
    section = judge(copies(SOURCES, REQUESTS), SOURCES, REQUESTS, GALLERY, JUDGES).section(NAMES)
    assert list(section["by_target"]) == NAMES
    assert section["by_target"]["happiness"].n == 12
    assert np.array(section["confusion"]).sum() == len(REQUESTS)


def test_the_rim_alone_counts_as_background():
    source = torch.zeros(2, 3, 16, 16)
    inner, outer = source.clone(), source.clone()
    inner[:, :, 4:12, 4:12] = 1
    outer[1, :, :2] = 0.5  # the top rim of the second image: 32 of its 88 pixels
    assert background_l1(source, inner).tolist() == [0, 0]
    assert background_l1(source, outer) == pytest.approx([0, 0.5 * 32 / 88])


def test_translations_that_do_not_fit_the_requests_are_refused():
    short = list(copies(SOURCES, REQUESTS, batch=5))[:-1]
    with pytest.raises(InputError, match=f"{sum(map(len, short))} translations for {len(REQUESTS)} requests"):
        judge(short, SOURCES, REQUESTS, GALLERY, JUDGES)
    with pytest.raises(InputError, match="do not match the requests"):
        judge([torch.zeros(5, 3, 4, 4)], SOURCES, REQUESTS, GALLERY, JUDGES)
