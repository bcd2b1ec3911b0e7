"""The sample that people review: of every stratum by lot, growing without change; and the filter's result is read.

pytest tests/data/test_review_sample.py
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import sound, write
from reviewable import line, lines, write_refined

from stargan_ray.data.refined import Refined, open_refined
from stargan_ray.data.review_sample import (
    BYPASSED,
    DROPPED,
    NEAR,
    NO_LABEL,
    SURE,
    Sample,
    SampleConfig,
    Stratum,
    allot,
    draw_sample,
)
from stargan_ray.errors import InputError


@pytest.fixture
def refined(tmp_path: Path) -> Refined:
    return open_refined(write_refined(tmp_path)[1])


def keys(refined: Refined, sample: Sample) -> list[str]:
    names = refined.dataset.index["key"].to_pylist()
    return [names[row] for row in sample.rows]


def test_every_class_and_what_became_of_it_has_its_part(refined: Refined) -> None:
    sample = draw_sample(refined, SampleConfig(per_class=20))
    assert sample.strata == (
        Stratum("calm", DROPPED, 20, 7),
        Stratum("calm", NEAR, 20, 7),
        Stratum("calm", SURE, 20, 6),
        Stratum("glad", DROPPED, 20, 7),
        Stratum("glad", NEAR, 20, 7),
        Stratum("glad", SURE, 20, 6),
        Stratum("odd", BYPASSED, 6, 6),
        Stratum("(none)", NO_LABEL, 4, 4),
    )
    assert sample.left_out == 1
    assert len(set(sample.rows.tolist())) == len(sample.rows) == 50
    fates = {each["key"]: each for each in lines()}
    for key, number in zip(keys(refined, sample), sample.stratum, strict=True):
        stratum, fate = sample.strata[number], fates[key]
        assert stratum.label == (fate["label"] or "(none)")
        assert (stratum.kind == DROPPED) == (fate["reason"] == "label disagrees")
        assert (stratum.kind == NEAR) == (fate["kept"] and fate["confidence"] == 0.5)
    assert Counter(sample.stratum.tolist()) == {n: each.sampled for n, each in enumerate(sample.strata)}


def test_whoever_stops_early_has_seen_something_of_every_stratum(refined: Refined) -> None:
    sample = draw_sample(refined, SampleConfig(per_class=20))
    for turn in range(4):
        assert sorted(sample.stratum[8 * turn : 8 * turn + 8]) == list(range(8))


def test_the_seed_alone_decides_and_a_larger_sample_contains_the_smaller(refined: Refined) -> None:
    small, again = (draw_sample(refined, SampleConfig(per_class=9)) for _ in range(2))
    np.testing.assert_array_equal(small.rows, again.rows)
    assert draw_sample(refined, SampleConfig(per_class=9, seed=1)).rows.tolist() != small.rows.tolist()
    larger = draw_sample(refined, SampleConfig(per_class=31))
    everything = draw_sample(refined, SampleConfig(per_class=None))
    assert set(small.rows) < set(larger.rows) < set(everything.rows)
    assert len(everything.rows) == len(refined.dataset) - 1  # but for what cannot be read


def test_rows_are_drawn_by_lot(refined: Refined) -> None:
    """Over many seeds every row of a stratum comes equally often."""
    drawn = [draw_sample(refined, SampleConfig(per_class=6, seed=seed)) for seed in range(300)]
    counts = Counter(int(row) for sample in drawn for row in sample.rows[sample.stratum == 0])
    assert len(counts) == 20  # two of twenty at a time: thirty times each, with a deviation of 5.2
    assert 13 < min(counts.values()) <= max(counts.values()) < 51


def test_near_is_near_the_least_that_was_kept_whatever_the_rule(tmp_path: Path) -> None:
    refined = open_refined(write_refined(tmp_path)[1])
    for near, kinds in ((0.0, {SURE}), (0.2, {NEAR, SURE}), (0.5, {NEAR})):
        found = draw_sample(refined, SampleConfig(near=near)).strata
        assert {each.kind for each in found if each.label == "calm"} - {DROPPED} == kinds, near
    # by the rule soft a weight was compared: 0.5 against 0.5 is full agreement, as 0.95 against 0.05 is
    soft = replace(refined, policy={"rule": "soft", "threshold": 0.3})
    for near, absent in ((0.2, SURE), (0.0, NEAR)):
        assert absent not in {each.kind for each in draw_sample(soft, SampleConfig(near=near)).strata}


def test_what_people_decided_does_not_hide_what_the_filter_did(tmp_path: Path) -> None:
    told = [
        each | {"filter_kept": each["kept"], "filter_reason": each["reason"], "new_label": None} for each in lines()
    ]
    for each in told[:10]:
        each |= {"kept": not each["kept"], "reason": "kept by a person"}
    plain, heard = tmp_path / "plain", tmp_path / "heard"
    expected = draw_sample(open_refined(write_refined(plain)[1]), SampleConfig())
    found = draw_sample(open_refined(write_refined(heard, told)[1]), SampleConfig())
    assert found.strata == expected.strata
    np.testing.assert_array_equal(found.rows, expected.rows)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 120))
def test_more_never_means_less_of_a_stratum(sizes: list[int], total: int) -> None:
    counts, more = allot(sizes, total), allot(sizes, total + 1)
    assert sum(counts) == min(total, sum(sizes))
    assert all(a <= b for a, b in zip(counts, more, strict=True))
    assert all(count <= size for count, size in zip(counts, sizes, strict=True))
    short = [count for count, size in zip(counts, sizes, strict=True) if count < size]
    assert not short or max(counts) - min(short) <= 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("per_class", 0, "--per-class 0"), ("near", 1.5, "--near 1.5"), ("seed", -1, "--seed -1")],
)
def test_a_configuration_that_gives_no_sample_is_refused(field: str, value: float, said: str) -> None:
    with pytest.raises(InputError, match=f"{said}: allowed"):
        SampleConfig(**{field: value})  # type: ignore[arg-type]


# -- reading the filter's result ------------------------------------------------------------------------------


def test_decisions_stand_in_the_order_of_the_index_whatever_their_own(tmp_path: Path) -> None:
    told = lines()
    source, uri = write_refined(tmp_path, told[::-1])
    refined = open_refined(uri)
    assert refined.dataset.uri == source
    assert refined.decisions["key"].to_pylist() == refined.dataset.index["key"].to_pylist()
    assert refined.decisions["label"].to_pylist() == refined.labels
    assert refined.classes == ("calm", "glad")


def test_a_source_that_was_moved_is_named_and_can_be_given(tmp_path: Path) -> None:
    source, uri = write_refined(tmp_path)
    moved = str(tmp_path / "elsewhere")
    shutil.move(source, moved)
    with pytest.raises(InputError, match=r"no longer at .*source: pass --data"):
        open_refined(uri)
    assert open_refined(uri, moved).dataset.uri == moved
    other = str(tmp_path / "other")
    write(Path(other), sound(4))
    with pytest.raises(InputError, match=r"has changed since.*run jobs/refine.py again"):
        open_refined(uri, other)


def test_what_is_no_result_of_a_filter_is_refused(tmp_path: Path) -> None:
    source, uri = write_refined(tmp_path)
    with pytest.raises(InputError, match="holds no data set"):
        open_refined(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"source has no decisions of a filter: --refined is the --out"):
        open_refined(source)
    table = Path(uri) / "decisions.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-30])
    with pytest.raises(InputError, match="no whole table of decisions"):
        open_refined(uri)
    table.unlink()
    with pytest.raises(InputError, match="has no decisions"):
        open_refined(uri)


def test_a_table_without_a_column_names_it(tmp_path: Path) -> None:
    told = [{name: value for name, value in each.items() if name != "reason"} for each in lines()]
    with pytest.raises(InputError, match=r"no whole table of decisions \(without reason\)") as error:
        open_refined(write_refined(tmp_path, told)[1])
    assert "\n" not in str(error.value)


def test_nothing_to_review_is_said(tmp_path: Path) -> None:
    told = [line(0, 0, 0.9, kept=True, reason="kept"), line(1, 0, float("nan"), kept=False, reason="unreadable")]
    refined = open_refined(write_refined(tmp_path, told)[1])
    unreadable = refined.decisions.set_column(
        refined.decisions.column_names.index("reason"), "reason", [["unreadable", "unreadable"]]
    )
    lost = replace(refined, decisions=unreadable)
    with pytest.raises(InputError, match="no readable row to review"):
        draw_sample(lost, SampleConfig())
