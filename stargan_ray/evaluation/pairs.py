"""Which images are compared: verification pairs, and the split into probes and gallery.

All of it is a pure function of the people, the expressions and a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError

IntArray = npt.NDArray[np.int64]
_LISTED = 4  # up to so many times the wanted pairs, all pairs of different people are listed and some chosen
_ROUNDS = 20  # of drawing: a round without a new pair is rare before the pairs run out


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, (n,) each: indices, whether they show one person, and the fold.

    Folds share no people: both images of a pair are of people of its fold.
    """

    first: IntArray
    second: IntArray
    same: npt.NDArray[np.bool_]
    fold: IntArray


def sample_pairs(
    persons: npt.ArrayLike,
    count: int,
    *,
    seed: int = 0,
    expressions: npt.ArrayLike | None = None,
    folds: int = 10,
) -> Pairs:
    """Half same-person and half different-person pairs, without repetition, in folds of disjoint people.

    With ``expressions`` the pairs are the hard ones: same person with *different* expressions, different
    people with the *same* expression; an embedder that looks at the expression fails on them.

    Args:
        persons: (n,) who the images show, any comparable values.
        count: pairs of each kind wanted in all; a small set gives fewer, as many of each kind.
        seed: of the folds and the draw.
        expressions: (n,) what they show; None = any.
        folds: as in the LFW protocol; fewer (at least 2) when there are not two people a fold, one of them with two
            images. People with one image are in pairs of different people only.

    Raises:
        InputError: If there are fewer than four people, fewer than two of them make pairs with themselves, or a fold
            has no pair of one kind.
    """
    names, person = np.unique(np.asarray(persons), return_inverse=True)
    shown = None if expressions is None else np.unique(np.asarray(expressions), return_inverse=True)[1]
    if shown is not None and shown.shape != person.shape:
        raise InputError(f"an expression is needed for every image: got {shown.shape} for {person.shape}")
    if len(names) < 4:
        raise InputError(f"verification needs at least 4 people, got {len(names)}")
    several = _with_pairs(person, shown)
    if several.sum() < 2:
        what = "two images" if shown is None else "images of two expressions"
        raise InputError(f"verification needs at least 2 people with {what}, got {int(several.sum())}")
    folds = min(folds, len(names) // 2, int(several.sum()))
    generator = np.random.default_rng(seed)
    fold_of_person = _folds(several, folds, generator)
    parts = []
    for fold in range(folds):
        images = np.flatnonzero(fold_of_person[person] == fold)
        wanted = count // folds + (fold < count % folds)
        people, faces = person[images], None if shown is None else shown[images]
        kinds = [_draw(people, faces, same, wanted, generator) for same in (True, False)]
        take = min(len(kinds[0]), len(kinds[1]))
        if wanted and not take:
            raise InputError(f"fold {fold} of {folds} has no pair of each kind: more images a person are needed")
        for same, drawn in zip((True, False), kinds, strict=True):
            chosen = images[drawn[:take]]
            parts.append((chosen[:, 0], chosen[:, 1], np.full(take, same), np.full(take, fold)))
    first, second, same_person, fold_of_pair = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pairs(first, second, same_person, fold_of_pair)


def sample_population(persons: npt.ArrayLike, most: int, *, seed: int = 0) -> Pairs:
    """Pairs as they come, without folds: up to ``most`` of one person and up to ``most`` of two, each pair once.

    For curves and histograms. A false-accept rate of 1/1,000 needs thousands of pairs of different people, more
    than a protocol of balanced folds has; the two kinds are therefore as many as can be had, not equally many.

    Args:
        persons: (n,) who the images show.
        most: pairs of each kind.
        seed: of the draw.

    Raises:
        InputError: If there is no pair of one kind.
    """
    _, person = np.unique(np.asarray(persons), return_inverse=True)
    if not _with_pairs(person, None).any() or person.max() < 1:
        raise InputError("verification needs a person with two images, and another person")
    generator = np.random.default_rng(seed)
    counts = np.bincount(person)
    # Drawing is slow where nearly every pair is wanted, listing where there are many: LFW has 88 million.
    if (counts * (counts - 1) // 2).sum() <= most:
        albums = np.split(np.argsort(person, kind="stable"), np.cumsum(counts)[:-1])
        match = np.concatenate([album[_pairs_among(len(album))] for album in albums])
    else:
        several = np.flatnonzero(counts[person] > 1)
        match = several[_draw(person[several], None, True, most, generator)]
    if len(person) * (len(person) - 1) // 2 <= _LISTED * most:
        every = _pairs_among(len(person))
        every = every[person[every[:, 0]] != person[every[:, 1]]]
        other = every[generator.permutation(len(every))[:most]]
    else:
        other = _draw(person, None, False, most, generator)
    first, second = np.concatenate([match, other]).T
    same = np.arange(len(first)) < len(match)
    return Pairs(first, second, same, np.zeros(len(first), dtype=np.int64))


def split_gallery(persons: npt.ArrayLike, photos: int, *, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Indices of probes and of gallery: ``photos`` images of each person go to the gallery.

    People without at least one image more than ``photos`` are in neither.

    Args:
        persons: (n,) who the images show.
        photos: gallery images a person.
        seed: of the choice.

    Returns:
        Sorted indices of the probes and of the gallery; no image is in both.

    Raises:
        InputError: If fewer than two people have enough images.
    """
    _, person = np.unique(np.asarray(persons), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(person))
    order = order[np.argsort(person[order], kind="stable")]
    counts = np.bincount(person)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.arange(len(person)) - starts[person[order]]
    enough = counts[person[order]] > photos
    if (counts > photos).sum() < 2 or photos < 1:
        raise InputError(f"a gallery of {photos} photos a person needs 2 people with {photos + 1} images or more")
    return np.sort(order[enough & (rank >= photos)]), np.sort(order[enough & (rank < photos)])


def _with_pairs(person: IntArray, shown: IntArray | None) -> npt.NDArray[np.bool_]:
    """Which people make a pair with themselves: two images or more, with expressions two different ones."""
    if shown is not None:
        person = np.unique(np.stack([person, shown]), axis=1)[0]
    return np.bincount(person) > 1


def _folds(several: npt.NDArray[np.bool_], folds: int, generator: np.random.Generator) -> IntArray:
    """The fold of each person: dealt out in turn, those who make pairs with themselves first, for a share in each."""
    order = generator.permutation(len(several))
    order = order[np.argsort(~several[order], kind="stable")]
    fold = np.empty(len(several), dtype=np.int64)
    fold[order] = np.arange(len(several)) % folds
    return fold


def _draw(
    person: IntArray, shown: IntArray | None, same: bool, wanted: int, generator: np.random.Generator
) -> IntArray:
    """Distinct pairs (m, 2) of one kind with m <= wanted, each with its smaller index first."""
    # A partner is drawn from the group in which the kind can be: the person, the expression or everybody.
    group = person if same else shown
    found = np.empty((0, 2), dtype=np.int64)
    for _ in range(_ROUNDS):
        first = generator.integers(len(person), size=4 * wanted + 16)
        second = _partner(first, group, len(person), generator)
        fits = (person[first] == person[second]) == same
        fits &= first != second
        if shown is not None:
            fits &= (shown[first] == shown[second]) != same
        drawn = np.sort(np.stack([first[fits], second[fits]], axis=1), axis=1)
        found = _distinct(np.concatenate([found, drawn]))[:wanted]
        if len(found) == wanted:
            break
    return found


def _partner(first: IntArray, group: Any, size: int, generator: np.random.Generator) -> IntArray:
    """A random image of the same group for each image; None = of all."""
    if group is None:
        return generator.integers(size, size=len(first))
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    offset = generator.integers(counts[group[first]])
    partner: IntArray = order[starts[group[first]] + offset]
    return partner


def _pairs_among(count: int) -> IntArray:
    """All pairs (m, 2) of the numbers below a count, the smaller first."""
    return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)


def _distinct(pairs: IntArray) -> IntArray:
    """Without repetition, in the order of first appearance."""
    _, index = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_index=True)  # five times as fast as axis=0
    return pairs[np.sort(index)]
