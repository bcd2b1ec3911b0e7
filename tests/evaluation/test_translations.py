"""Translations to be judged, made by a small StarGAN v2: balanced, by seed, whatever the batch size.

Run: python -m pytest tests/evaluation/test_translations.py
"""

import numpy as np
import pytest
import torch

from stargan_ray.errors import InputError
from stargan_ray.evaluation.translations import (
    Faces,
    LatentGuide,
    ReferenceGuide,
    Requests,
    balanced_targets,
    copies,
    every_target,
    latents,
    translate,
)
from stargan_ray.methods.stargan_v2 import StarGANv2

DOMAINS = 4
METHOD = StarGANv2(first=8, largest=16, bottleneck=8, depth=1, style_dim=8, latent_dim=4, mapping_hidden=16)
LATENT = LatentGuide(METHOD.latent_dim)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: network.eval() for name, network in METHOD.networks(16, DOMAINS).items()}


@pytest.fixture(scope="module")
def faces():
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Faces(images, torch.arange(12) % DOMAINS, np.repeat(["ann", "bob", "cy"], 4))


def _all(batches):
    return torch.cat(list(batches))


def test_every_source_goes_to_every_other_expression_once():
    requests = every_target([0, 3], DOMAINS)
    assert requests.source.tolist() == [0, 0, 0, 1, 1, 1]
    assert requests.target.tolist() == [1, 2, 3, 0, 1, 2]
    assert len(every_target([0, 3], DOMAINS, own=True)) == 8
    with pytest.raises(InputError, match=r"allowed are 0\.\.3"):
        every_target([4], DOMAINS)


def test_a_sample_is_balanced_over_the_targets_and_fixed_by_its_seed():
    labels = np.repeat([0, 1, 2, 3], [50, 5, 5, 5])  # ten times more of one expression
    requests = balanced_targets(labels, DOMAINS, 42, seed=3)
    assert np.ptp(np.bincount(requests.target)) <= 1
    assert (labels[requests.source] != requests.target).all()
    assert len({*zip(requests.source, requests.target, strict=True)}) == 42
    again, other = (balanced_targets(labels, DOMAINS, 42, seed=seed) for seed in (3, 4))
    assert np.array_equal(requests.source, again.source)
    assert not np.array_equal(requests.source, other.source)
    assert len(balanced_targets(labels, DOMAINS, 10_000)) == len(every_target(labels, DOMAINS))


@pytest.mark.parametrize("kind", ["latent", "reference"])
def test_the_batch_size_changes_nothing_and_the_seed_does(networks, faces, kind):
    guide = LATENT if kind == "latent" else ReferenceGuide(faces)
    requests = every_target(faces.labels, DOMAINS)
    whole = _all(translate(METHOD, networks, faces, requests, guide, seed=7, batch=64))
    ones = _all(translate(METHOD, networks, faces, requests, guide, seed=7, batch=5))
    other = _all(translate(METHOD, networks, faces, requests, guide, seed=8, batch=64))
    assert whole.shape == (36, 3, 16, 16)
    assert torch.allclose(whole, ones, atol=1e-5)
    assert not torch.allclose(whole, other, atol=1e-3)
    assert whole.abs().max() <= 1


def test_a_request_is_translated_alike_in_any_company(networks, faces):
    requests = every_target(faces.labels, DOMAINS)
    some = Requests(requests.source[5:9], requests.target[5:9])
    whole = _all(translate(METHOD, networks, faces, requests, LATENT))
    part = _all(translate(METHOD, networks, faces, some, LATENT))
    assert torch.allclose(whole[5:9], part, atol=1e-5)


def test_latents_are_standard_normal_and_all_different():
    source, target = np.divmod(np.arange(4000), 8)
    drawn = latents(source, target, 16)
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    assert drawn.std() == pytest.approx(1, abs=0.02)
    assert len(torch.unique(drawn[:, 0])) == 4000


class _Spy:
    """Remembers the targets it is asked for and gives the reference back."""

    def __init__(self):
        self.targets = []

    def translate(self, networks, image, source_label, target):
        self.targets.append(target)
        return target.reference


def test_references_show_the_target_and_another_person(faces):
    spy = _Spy()
    requests = every_target(faces.labels, DOMAINS)
    shown = _all(translate(spy, {}, faces, requests, ReferenceGuide(faces), intensity=0.5))
    for image, source, target in zip(shown, requests.source, requests.target, strict=True):
        (index,) = (faces.images == image).flatten(1).all(1).nonzero()[0].tolist()
        assert faces.labels[index] == target
        assert faces.persons[index] != faces.persons[source]
    assert {target.intensity for target in spy.targets} == {0.5}
    with pytest.raises(InputError, match="no reference of expression 1 shows another person than 'ann'"):
        _all(translate(spy, {}, faces, requests, ReferenceGuide(faces.take([0, 1, 2, 3]))))


def test_copies_are_the_sources(faces):
    requests = every_target(faces.labels, DOMAINS)
    copied = _all(copies(faces, requests, batch=5))
    assert torch.equal(copied, faces.images[torch.from_numpy(requests.source)])


def test_training_networks_and_faces_without_a_person_are_refused(networks, faces):
    networks["generator"].train()
    with pytest.raises(AssertionError, match=r"\['generator'\] are training"):
        next(translate(METHOD, networks, faces, every_target(faces.labels, DOMAINS), LATENT))
    networks["generator"].eval()
    with pytest.raises(InputError, match="2 images, 2 labels and 1 people"):
        Faces(faces.images[:2], faces.labels[:2], faces.persons[:1])
