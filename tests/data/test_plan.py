"""The plan: coverage, balance, references, the same global batches for any number of workers, and purity.

pytest tests/data/test_plan.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargan_ray.config import DataConfig
from stargan_ray.data.plan import Chunk, Plan, Shape, epoch_plan
from stargan_ray.data.plan_domains import DomainPlan
from stargan_ray.data.plan_identities import IdentityPlan
from stargan_ray.data.plan_rows import RowPlan
from stargan_ray.data.row_streams import Streams
from stargan_ray.errors import InputError

Ints = npt.NDArray[np.int64]
SLOW = settings(deadline=None, database=None, derandomize=True, max_examples=40)


def domain_plan(counts: Sequence[int], shape: Shape, seed: int = 0, **more: Any) -> DomainPlan:
    """Rows 5, 6, 7, … in a shuffled order of domains, in row groups of ten."""
    labels = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    rows = np.arange(len(labels), dtype=np.int64) + 5
    groups = np.arange(len(labels) + 5, dtype=np.int64) // 10
    return DomainPlan(rows, labels, [f"d{k}" for k in range(len(counts))], groups, shape, seed, **more)


def label_of(plan: DomainPlan | RowPlan) -> Ints:
    """Row of the index -> domain."""
    table = np.full(plan.rows.max() + 1, -1)
    table[plan.rows] = plan.labels
    return table


def windows_of(plan: Plan, windows: range, lanes: range) -> dict[str, Ints]:
    """Rows and labels, (steps, their part of the global batch), in the global order."""
    parts: dict[str, list[Ints]] = {}
    for window in windows:
        chunks = [plan.chunk(lane, window) for lane in lanes]
        for name in chunks[0].images:
            rows = [c.rows[c.images[name]] for c in chunks]
            parts.setdefault(name, []).append(np.concatenate(rows, axis=1))
        for name in chunks[0].labels:
            parts.setdefault(name, []).append(np.concatenate([c.labels[name] for c in chunks], axis=1))
    return {name: np.concatenate(value) for name, value in parts.items()}


def equal(first: Chunk, second: Chunk) -> bool:
    return (
        np.array_equal(first.rows, second.rows)
        and all(np.array_equal(first.images[n], second.images[n]) for n in first.images | second.images)
        and all(np.array_equal(first.labels[n], second.labels[n]) for n in first.labels | second.labels)
    )


shapes = st.builds(
    lambda lanes, share, window: Shape(lanes * share, lanes, window),
    st.sampled_from([1, 2, 4]),
    st.integers(1, 3),
    st.integers(8, 12),
)
counts_of = st.lists(st.integers(1, 40), min_size=1, max_size=4)


# -- sources ---------------------------------------------------------------------------------------------------


@given(counts_of, shapes, st.integers(0, 5))
@SLOW
def test_a_domains_stream_passes_every_image_once_before_one_repeats(
    counts: list[int], shape: Shape, seed: int
) -> None:
    plan = domain_plan(counts, shape, seed)
    rounds = 2 * max(counts)  # blocks of every domain once, over all lanes
    windows = -(-rounds * len(counts) // (shape.window * shape.batch)) + 1
    drawn: dict[int, list[tuple[int, int, int]]] = {}  # domain -> (block, lane, row), which is the stream's order
    for lane in range(shape.lanes):
        seen = windows_of(plan, range(windows), range(lane, lane + 1))
        for sample, (row, label) in enumerate(
            zip(seen["source"].flat, seen["source_label"].flat, strict=True),
        ):
            drawn.setdefault(int(label), []).append((sample // len(counts), lane, int(row)))
    for domain, size in enumerate(counts):
        stream = [row for _, _, row in sorted(drawn[domain])]
        whole = set(plan.rows[plan.labels == domain].tolist())
        # A last, partly drawn block may lack some lanes: whole passes before it are what is checked.
        usable = (
            min(sum(1 for b, lane, _ in drawn[domain] if lane == number) for number in range(shape.lanes)) * shape.lanes
        )
        for start in range(0, usable - size + 1, size):
            assert set(stream[start : start + size]) == whole


def test_sources_and_targets_are_balanced_over_an_epoch_at_thirty_to_one() -> None:
    plan = domain_plan([300, 200, 120, 80, 40, 30, 20, 10], Shape(16, 4, 16))
    epoch = epoch_plan(plan, 0)
    total = epoch["source"].size
    assert total == len(plan.rows)
    for name in ("source_label", "target_label"):
        shares = np.bincount(epoch[name].ravel(), minlength=8) / total
        assert np.abs(shares * 8 - 1).max() <= 0.02, name


def test_targets_are_drawn_apart_from_sources() -> None:
    """Every pair of domains meets, the own one included, about equally often."""
    plan = domain_plan([50, 50, 50, 50], Shape(8, 2, 16))
    seen = windows_of(plan, range(40), range(2))
    pairs = Counter(zip(seen["source_label"].flat, seen["target_label"].flat, strict=True))
    expected = seen["source"].size / 16
    assert len(pairs) == 16
    assert all(0.8 * expected < n < 1.2 * expected for n in pairs.values())


@given(counts_of, shapes)
@SLOW
def test_labels_are_those_of_the_rows(counts: list[int], shape: Shape) -> None:
    plan = domain_plan(counts, shape)
    seen, label = windows_of(plan, range(2), range(shape.lanes)), label_of(plan)
    assert np.array_equal(label[seen["source"]], seen["source_label"])
    for role in ("reference", "reference2"):
        assert np.array_equal(label[seen[role]], seen["target_label"])


# -- references ------------------------------------------------------------------------------------------------


@given(counts_of, shapes, st.integers(0, 5))
@SLOW
def test_references_differ_from_each_other_and_never_are_the_source_where_possible(
    counts: list[int], shape: Shape, seed: int
) -> None:
    plan = domain_plan(counts, shape, seed)
    for lane in range(shape.lanes):
        chunk = plan.chunk(lane, 1)
        source, first, second = (chunk.images[n].ravel() for n in ("source", "reference", "reference2"))
        labels, target = (chunk.labels[n].ravel() for n in ("source_label", "target_label"))
        for place in range(len(source)):
            pool = set(source[labels == target[place]])  # the images of the target domain in this chunk
            others = pool - {source[place]}
            assert {first[place], second[place]} <= pool
            if others:
                assert source[place] not in (first[place], second[place])
            if len(others) >= 2:
                assert first[place] != second[place]


def test_references_are_spread_over_the_pool() -> None:
    plan = domain_plan([100, 100], Shape(4, 1, 50))
    used: Counter[int] = Counter()
    for window in range(4):
        chunk = plan.chunk(0, window)
        for role in ("reference", "reference2"):
            used.update(chunk.rows[chunk.images[role]].ravel().tolist())
    assert len(used) >= 190
    assert max(used.values()) <= 4 * np.mean(list(used.values()))


# -- purity and workers ----------------------------------------------------------------------------------------


@given(st.integers(0, 3), st.integers(0, 200), st.integers(0, 5))
@SLOW
def test_a_chunk_is_a_pure_function_of_its_number(lane: int, window: int, seed: int) -> None:
    """A fresh plan, asked for this chunk alone, answers as one that was asked for others before."""
    shape = Shape(8, 4, 8)
    used = domain_plan([30, 20, 4], shape, seed)
    for other in (0, 7, window + 3, max(0, window - 1)):
        used.chunk(3 - lane, other)
    assert equal(domain_plan([30, 20, 4], shape, seed).chunk(lane, window), used.chunk(lane, window))


def test_the_seed_changes_the_plan() -> None:
    first, second = (domain_plan([30, 20], Shape(4, 2, 8), seed).chunk(0, 0) for seed in (0, 1))
    assert not equal(first, second)


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_global_batch_is_the_same_for_any_number_of_workers(world_size: int) -> None:
    plan = domain_plan([30, 20, 4], Shape(8, 4, 8))
    whole = windows_of(plan, range(3), range(4))
    parts = [
        windows_of(domain_plan([30, 20, 4], plan.shape), range(3), plan.shape.lanes_of(rank, world_size))
        for rank in range(world_size)
    ]
    for name, value in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts], axis=1), value)


def test_an_epoch_is_cut_from_the_endless_sequence() -> None:
    plan = domain_plan([50, 31], Shape(4, 2, 8))  # 20 steps, two and a half windows
    assert plan.steps_per_epoch == 20
    whole = windows_of(plan, range(6), range(2))
    for epoch in (0, 1):
        for name, value in epoch_plan(plan, epoch).items():
            assert np.array_equal(value, whole[name][20 * epoch : 20 * (epoch + 1)])


# -- cost ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[300] * 8, [3000, 2000, 1200, 800, 400, 300, 200, 100], [40] * 3])
def test_about_one_image_is_decoded_a_sample(counts: list[int]) -> None:
    """Three images meet in a sample; references come from the sources that the window decodes anyway."""
    plan = domain_plan(counts, Shape(16, 4, 16))
    chunks = [plan.chunk(lane, window) for lane in range(4) for window in range(10)]
    decoded = sum(len(chunk.rows) for chunk in chunks)
    assert decoded <= 1.05 * sum(chunk.images["source"].size for chunk in chunks)
    for chunk in chunks:
        assert len(np.unique(chunk.rows)) == len(chunk.rows)


def test_rows_of_a_group_lie_close_together_in_a_pass() -> None:
    """Readers of large buckets fetch a row group once or twice a pass, not once an image."""
    rows = np.arange(20_000, dtype=np.int64)
    plan = DomainPlan(rows, rows * 0, ["d"], rows // 10, Shape(100, 1, 10), 0, pairs=False)
    fetched = [len(np.unique(plan.chunk(0, window).rows // 10)) for window in range(20)]
    assert sum(fetched) <= 2 * 2 * 2_000
    assert len(np.unique(np.diff(plan.chunk(0, 0).rows))) > 5  # and yet they are shuffled


# -- edges -----------------------------------------------------------------------------------------------------


def test_a_domain_with_one_image_works() -> None:
    plan = domain_plan([30, 1], Shape(4, 1, 8))
    seen = windows_of(plan, range(4), range(1))
    (only,) = plan.rows[plan.labels == 1]
    assert (seen["source"][seen["source_label"] == 1] == only).all()
    for role in ("reference", "reference2"):
        assert (seen[role][seen["target_label"] == 1] == only).all()


def test_a_domain_without_images_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="domain 'd1' has no training images") as caught:
        domain_plan([30, 0, 5], Shape(4, 1, 8))
    assert "\n" not in str(caught.value)


def test_a_window_that_cannot_hold_references_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.shape\.window = 5: .*holds 5 samples.*at least 6"):
        domain_plan([9, 9, 9], Shape(2, 2, 5))
    assert domain_plan([9, 9, 9], Shape(2, 2, 5), pairs=False).chunk(0, 0).images.keys() == {"source"}


@pytest.mark.parametrize("fields", [{"batch": 0}, {"lanes": 0}, {"window": 0}, {"batch": 8, "lanes": 3}])
def test_a_shape_that_cannot_be_cut_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"data\.shape\.\w+ = \d+: allowed are"):
        Shape(**fields)


def test_workers_that_do_not_divide_the_lanes_are_refused() -> None:
    with pytest.raises(InputError, match=r"scale\.num_workers = 3: allowed are divisors of data\.shape\.lanes = 4"):
        Shape(8, 4, 8).lanes_of(0, 3)
    with pytest.raises(InputError, match=r"scale\.num_workers = 3: allowed are divisors"):
        Shape(8, 4, 8).require_divisible(range(3, 4))


def test_every_number_of_workers_between_the_least_and_the_most_divides_the_lanes() -> None:
    with pytest.raises(
        InputError, match=r"= 2 4: every .* data\.shape\.lanes = 8, and 3 does not: .* multiple of 12 l"
    ):
        Shape(8, 8, 8).require_divisible(range(2, 5))
    Shape(12, 12, 8).require_divisible(range(2, 5))
    Shape(8, 8, 8).require_divisible(range(1, 3))


# -- people ----------------------------------------------------------------------------------------------------


def identity_plan(albums: Sequence[int], shape: Shape, k: int, seed: int = 0, singles: float = 0.0) -> IdentityPlan:
    people = np.random.default_rng(9).permutation(np.repeat(np.arange(len(albums)), albums)).astype(np.int64) * 7
    rows = np.arange(len(people), dtype=np.int64) + 5
    return IdentityPlan(rows, rows % 3, people, rows, shape, seed, k, singles)


@given(st.lists(st.integers(1, 9), min_size=4, max_size=12), st.integers(2, 4), st.integers(0, 3))
@SLOW
def test_batches_hold_k_images_of_each_person(albums: list[int], k: int, seed: int) -> None:
    if sum(n >= 2 for n in albums) < 2:
        return
    plan = identity_plan(albums, Shape(4 * k, 2, 5), k, seed)
    people = dict(zip(plan.rows.tolist(), plan.people.tolist(), strict=True))
    seen = windows_of(plan, range(3), range(2))
    for images, persons in zip(seen["source"].reshape(-1, k), seen["person"].reshape(-1, k), strict=True):
        (shown,) = {people[int(row)] for row in images}
        assert len(set(persons.tolist())) == 1
        album = (plan.people == shown).sum()
        assert album >= 2
        assert len(set(images.tolist())) == min(k, album)
    assert plan.left_out == sum(n for n in albums if n == 1)
    assert np.array_equal(seen["source_label"], seen["source"] % 3)


def test_a_persons_images_differ_in_expression_as_far_as_they_can() -> None:
    """Five expressions, two images of each and two without a label: 4 of a person's 12 are never twice the same."""
    label = np.tile(np.repeat(np.array([0, 1, 2, 3, 4, -1]), 2), 9).astype(np.int64)
    rows = np.arange(len(label), dtype=np.int64)
    plan = IdentityPlan(rows, label, rows // 12, np.zeros(len(rows), np.int64), Shape(16, 2, 8), 0, 4)
    shown = windows_of(plan, range(30), range(2))["source_label"].reshape(-1, 4)
    for four in shown.tolist():
        known = [each for each in four if each >= 0]
        assert len(set(known)) == len(known)
    assert set(shown.ravel().tolist()) == {-1, 0, 1, 2, 3, 4}
    six = IdentityPlan(rows, label % 2, rows // 12, np.zeros(len(rows), np.int64), Shape(16, 2, 8), 0, 4)
    for four in windows_of(six, range(30), range(2))["source_label"].reshape(-1, 4).tolist():
        assert sorted(four) == [0, 0, 1, 1]  # two expressions alone: both, as often as each other


def test_every_person_is_visited_once_a_pass() -> None:
    plan = identity_plan([5] * 12, Shape(8, 2, 6), 4)  # two people a step, six steps a pass
    seen = windows_of(plan, range(2), range(2))
    for start in (0, 6):
        assert Counter(seen["person"][start : start + 6].ravel().tolist()) == dict.fromkeys(range(12), 4)


@pytest.mark.parametrize("singles", [0.1, 0.25, 0.5])
def test_people_with_one_image_are_negatives_in_their_share_of_every_lane(singles: float) -> None:
    albums = [5] * 12 + [1] * 40
    plan = identity_plan(albums, Shape(32, 4, 10), 4, singles=singles)
    assert plan.counts == {"people": 12, "negatives_only": 40, "left_out": 0}
    seen = windows_of(plan, range(20), range(4))
    person = seen["person"]
    alone = person >= 12
    for lane in range(4):
        assert alone[:, lane * 8 : (lane + 1) * 8].mean() == pytest.approx(singles, abs=0.02)
    visits = person.reshape(-1, 4)
    for four in visits:
        assert len(set(four.tolist())) == (4 if four[0] >= 12 else 1)
    # everyone comes about as often as the others of his kind, and his images are his
    counts = Counter(person[alone].tolist())
    assert set(counts) == set(range(12, 52))
    assert max(counts.values()) - min(counts.values()) <= 2
    known = Counter(person[~alone].tolist())
    assert max(known.values()) - min(known.values()) <= 8
    owner: dict[int, set[int]] = {}
    for row, name in zip(seen["source"].ravel().tolist(), person.ravel().tolist(), strict=True):
        owner.setdefault(row, set()).add(name)
    assert all(len(names) == 1 for names in owner.values())


def test_too_few_people_with_one_image_are_left_out_and_counted() -> None:
    plan = identity_plan([5] * 4 + [1] * 3, Shape(8, 2, 6), 4, singles=0.25)
    assert plan.counts == {"people": 4, "negatives_only": 0, "left_out": 3}
    assert windows_of(plan, range(9), range(2))["person"].max() < 4
    with pytest.raises(InputError, match=r"data\.singles = 1"):
        DataConfig(singles=1.0)


def test_an_identity_chunk_is_pure_and_shared_out_as_a_domain_chunk() -> None:
    shape = Shape(16, 4, 3)
    whole = windows_of(identity_plan([5] * 9, shape, 4), range(5), range(4))
    parts = [windows_of(identity_plan([5] * 9, shape, 4), range(5), shape.lanes_of(rank, 2)) for rank in range(2)]
    for name, value in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts], axis=1), value)
    used = identity_plan([5] * 9, shape, 4)
    used.chunk(0, 9)
    assert equal(used.chunk(2, 3), identity_plan([5] * 9, shape, 4).chunk(2, 3))


def test_identity_batches_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(InputError, match=r"data\.images_per_person = 3: allowed are divisors >= 2 of 8"):
        identity_plan([5] * 4, Shape(8, 1, 8), 3)
    with pytest.raises(InputError, match="1 people with two or more training images"):
        identity_plan([1, 1, 4], Shape(8, 1, 8), 4)


# -- rows without balance -----------------------------------------------------------------------------------------


def row_plan(counts: Sequence[int], shape: Shape, seed: int = 0) -> RowPlan:
    plan = domain_plan(counts, shape, seed)
    return RowPlan(plan.rows, plan.labels, plan.groups, shape, seed)


@given(counts_of, shapes, st.integers(0, 5))
@SLOW
def test_without_balance_every_row_is_drawn_once_a_pass_with_its_label(
    counts: list[int], shape: Shape, seed: int
) -> None:
    plan = row_plan(counts, shape, seed)
    windows = range(2 * sum(counts) // (shape.window * shape.batch) + 1)
    drawn = windows_of(plan, windows, range(shape.lanes))
    # the stream goes round the lanes, a batch holds them end to end
    stream = drawn["source"].reshape(-1, shape.lanes, shape.share).transpose(0, 2, 1).reshape(-1)
    assert sorted(stream[: sum(counts)]) == sorted(plan.rows)
    assert np.array_equal(label_of(plan)[drawn["source"]], drawn["source_label"])
    assert set(drawn) == {"source", "source_label"}


def test_without_balance_the_batch_is_the_same_for_any_number_of_workers() -> None:
    plan = row_plan([20, 3], Shape(8, 4, 8))
    whole = windows_of(plan, range(3), range(4))
    halves = [windows_of(plan, range(3), range(start, start + 2)) for start in (0, 2)]
    for name in whole:
        assert np.array_equal(np.concatenate([half[name] for half in halves], axis=1), whole[name])
    assert equal(plan.chunk(2, 1), row_plan([20, 3], Shape(8, 4, 8)).chunk(2, 1))


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(InputError, match="no training row has a label"):
        RowPlan(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), Shape(8, 4, 8), 0)


# -- weights ------------------------------------------------------------------------------------------------


@SLOW
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_a_row_is_in_the_share_of_the_passes_that_its_weight_says(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.maximum(rng.uniform(0, 1, size) ** 2, 1e-3)
    weights[rng.random(size) < 0.3] = 1.0
    rows = np.arange(size, dtype=np.int64) + 7
    streams = Streams((rows,), np.zeros(size + 7, np.int64), seed, (weights,))
    (length,) = streams.lengths
    assert length == max(1, int(weights.sum()))
    passes = 400
    counts = np.zeros(size)
    for turn in range(passes):
        drawn = [streams.row(0, turn * length + place) - 7 for place in range(length)]
        assert len(set(drawn)) == length  # nobody twice in a pass
        counts[drawn] += 1
    expected = np.minimum(1, weights * length / weights.sum())
    spread = np.sqrt(expected * (1 - expected) / passes)
    assert (np.abs(counts / passes - expected) <= 5 * spread + 1e-9).all()


def test_weights_of_one_draw_what_no_weights_draw() -> None:
    plain = domain_plan([40, 9, 20], Shape(6, 2, 8))
    ones = domain_plan([40, 9, 20], Shape(6, 2, 8), weights=np.ones(69))
    assert all(equal(plain.chunk(lane, 3), ones.chunk(lane, 3)) for lane in (0, 1))


def test_weighted_domains_stay_balanced_and_light_rows_come_seldom() -> None:
    counts = [60, 30, 30]
    plain = domain_plan(counts, Shape(6, 2, 8))
    weights = np.where(plain.rows % 3 == 0, 0.25, 1.0)
    drawn = windows_of(domain_plan(counts, Shape(6, 2, 8), weights=weights), range(200), range(2))
    assert len(set(np.bincount(drawn["source_label"].ravel()))) == 1
    seen = np.bincount(drawn["source"].ravel(), minlength=plain.rows.max() + 1)[plain.rows]
    label = label_of(plain)[plain.rows]
    for domain in range(3):
        light, heavy = ((label == domain) & (weights < 1)), ((label == domain) & (weights == 1))
        assert seen[light].mean() / seen[heavy].mean() == pytest.approx(0.25, abs=0.04)


def test_a_weighted_plan_of_rows_is_the_same_for_any_number_of_lanes_served() -> None:
    rows = np.arange(50, dtype=np.int64)
    weights = np.linspace(0.1, 1, 50)
    plan = RowPlan(rows, rows % 5, np.zeros(50, np.int64), Shape(8, 4, 4), 3, weights)
    once, twice = (windows_of(plan, range(80), range(4)) for _ in range(2))
    assert all(np.array_equal(once[name], twice[name]) for name in once)
    seen = np.bincount(once["source"].ravel(), minlength=50)
    assert np.corrcoef(seen, weights)[0, 1] > 0.95
