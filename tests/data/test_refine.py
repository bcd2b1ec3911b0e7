"""The filter of noisy labels: the decision, the refined data set beside the source, and the job's functions.

pytest tests/data/test_refine.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stargan_ray.data import refine as pure
from stargan_ray.data.pools import Pixels
from stargan_ray.data.refine import Policy, decide, tally, warnings
from stargan_ray.data.schema import EXPRESSIONS, Row
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.refine import refine, report
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Score, Scorer, Scores, network_score

SEVEN = EXPRESSIONS[:7]  # FER2013's: no contempt


def sure(*names: str, confidence: float = 0.9) -> Scores:
    """Probabilities over SEVEN that put the confidence on the named classes."""
    table = np.full((len(names), 7), (1 - confidence) / 6, np.float32)
    table[np.arange(len(names)), [SEVEN.index(name) for name in names]] = confidence
    return table


# -- the decision -------------------------------------------------------------------------------------------


def test_rows_stay_where_the_classifier_is_sure_of_their_own_label() -> None:
    scores = np.concatenate([sure("anger", "fear"), sure("anger", confidence=0.4)])
    found = decide(["anger", "anger", "anger"], scores, SEVEN, Policy(threshold=0.5))
    assert found.kept.tolist() == [True, False, False]
    assert found.reason == ("kept", "label disagrees", "low confidence")
    assert found.predicted == ("anger", "fear", "anger")
    assert found.confidence == pytest.approx([0.9, 0.9, 0.4])


@pytest.mark.parametrize(("choice", "kept"), [("keep", 2), ("drop", 0)])
def test_contempt_is_bypassed_or_dropped_but_always_counted(choice: str, kept: int) -> None:
    labels = ["contempt", "contempt", "anger"]
    found = decide(labels, sure("anger", "fear", "anger"), SEVEN, Policy(unknown_class=choice))  # type: ignore[arg-type]
    contempt = tally(labels, found, EXPRESSIONS)[7]
    assert (contempt.domain, contempt.before, contempt.after) == ("contempt", 2, kept)
    assert contempt.reasons == {"class unknown to the classifier": 2}
    assert found.kept[2]


@pytest.mark.parametrize("choice", ["keep", "drop"])
def test_rows_without_a_label_follow_the_policy(choice: str) -> None:
    found = decide([None], sure("anger"), SEVEN, Policy(unlabelled=choice))  # type: ignore[arg-type]
    assert (found.kept[0], found.reason) == (choice == "keep", ("no label",))


def test_an_unreadable_image_is_dropped_whatever_its_label() -> None:
    nothing = np.full((3, 7), np.nan, np.float32)
    policy = Policy(unknown_class="keep", unlabelled="keep")
    found = decide(["anger", "contempt", None], nothing, SEVEN, policy)
    assert not found.kept.any()
    assert set(found.reason) == {"unreadable"}
    assert found.predicted == (None, None, None)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_keeps_more_and_every_row_is_counted_once(
    seed: int, first: float, second: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(7, 0.3), 20)
    labels = [None if k == 8 else EXPRESSIONS[k] for k in rng.integers(0, 9, 20)]
    low, high = sorted((first, second))
    loose, strict = (decide(labels, scores, SEVEN, Policy(threshold=t)) for t in (low, high))
    assert not (strict.kept & ~loose.kept).any()
    tallies = tally(labels, strict, EXPRESSIONS)
    assert sum(each.before for each in tallies) == 20
    assert sum(each.after for each in tallies) == strict.kept.sum()
    assert all(sum(each.reasons.values()) == each.before for each in tallies)


def test_ruined_domains_are_warned_of_and_empty_ones_are_not() -> None:
    labels = ["anger"] * 100 + ["fear"] * 60 + ["sadness"] * 100
    guesses = ["fear"] * 81 + ["anger"] * 19 + ["fear"] * 40 + ["anger"] * 20 + ["sadness"] * 100
    told = warnings(tally(labels, decide(labels, sure(*guesses), SEVEN, Policy()), EXPRESSIONS), Policy())
    assert told == ("fear is left with 40 rows of 60", "anger loses 81% of its rows (100 to 19)")


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 1.5), ("unknown_class", "maybe"), ("unlabelled", ""), ("warn_lost", -1), ("warn_under", -1)],
)
def test_unusable_policies_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"policy\.{field} = .*allowed"):
        Policy(**{field: value})  # type: ignore[arg-type]


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 7\).*2 rows"):
        decide(["anger", "fear"], sure("anger"), SEVEN, Policy())


# -- a data set ---------------------------------------------------------------------------------------------
# Flat grey pictures, whose level is the expression that they show: 0, 30, 60, …, 210.


def picture(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Greys:
    """Sixteen rows: each expression twice, the second time under the next one's label; one without a label."""

    number: int

    @property
    def fingerprint(self) -> str:
        return f"greys {self.number}"

    def produce(self) -> Iterator[Row]:
        for k in range(8):
            for wrong in (0, 1):
                label = None if (k, wrong) == (1, 1) else (k + wrong) % 8
                split = "val" if k == 5 else "train"
                yield Row(f"{self.number}-{k}-{wrong}", picture(30 * k), label, f"p{k}", split, "greys")


def grey_score(calls: Path | None) -> Score:
    """A perfect reader of the pictures that has never heard of contempt; leaves a line for each image."""

    def score(images: Pixels) -> Scores:
        if calls is not None:
            with calls.open("a") as log:
                log.write(len(images) * "x")
        shown = images[:, 0, 0, 0] // 30
        table = np.full((len(images), 7), 0.01, np.float32)
        table[np.arange(len(images)), np.minimum(shown, 6)] = 0.94
        return table

    return score


@pytest.fixture
def greys(tmp_path: Path) -> str:
    uri = str(tmp_path / "greys")
    write_dataset(uri, Source({"reader": "greys"}, EXPRESSIONS, (Greys(0), Greys(1))))
    return uri


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return Scorer(SEVEN, 8, "greys 1.0", partial(grey_score, tmp_path / "calls"))


def rows_of(dataset: Dataset) -> dict[str, tuple[object, ...]]:
    index = dataset.index.select(["key", "expression", "identity", "split", "source", "content_hash"]).to_pylist()
    images = dataset.images(np.arange(len(dataset)))
    return {row["key"]: (*row.values(), image) for row, image in zip(index, images, strict=True)}


def test_refined_rows_are_the_confirmed_rows_unchanged_and_the_source_stays(
    greys: str, scorer: Scorer, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in Path(greys).rglob("*") if path.is_file()}
    done = refine(greys, str(tmp_path / "refined"), scorer, Policy())
    source, result = rows_of(open_dataset(greys)), rows_of(open_dataset(str(tmp_path / "refined")))
    # right labels, and both rows labelled contempt: the true one and the anger that is called so
    expected = {f"{n}-{k}-0" for n in (0, 1) for k in range(8)} | {"0-6-1", "1-6-1"}
    assert set(result) == expected
    assert all(source[key] == result[key] for key in result)
    assert {path: path.read_bytes() for path in Path(greys).rglob("*") if path.is_file()} == before
    assert done.manifest.skipped == {"label disagrees": 12, "no label": 2}
    assert done.manifest.source["content_hash"] == open_dataset(greys).manifest.content_hash
    assert len(done.warnings) == 8  # eight tiny domains


def test_every_row_and_its_reason_is_in_the_table(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    done = refine(greys, str(tmp_path / "refined"), scorer, Policy(unknown_class="drop"))
    table = pq.read_table(done.decisions)
    assert table.column_names[:4] == ["key", "label", "predicted", "confidence"]
    assert table.column_names[4:] == [f"p_{name}" for name in SEVEN] + ["kept", "reason"]
    rows = {row["key"]: row for row in table.to_pylist()}
    assert set(rows) == set(rows_of(open_dataset(greys)))
    assert rows["0-2-1"]["reason"] == "label disagrees"
    assert (rows["0-2-1"]["label"], rows["0-2-1"]["predicted"]) == ("surprise", "sadness")
    assert {r["reason"] for r in rows.values() if r["label"] == "contempt"} == {"class unknown to the classifier"}
    assert {key for key, row in rows.items() if row["kept"]} == set(rows_of(open_dataset(str(tmp_path / "refined"))))


def test_each_row_is_scored_once_and_not_again_for_another_policy(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    out, calls = str(tmp_path / "refined"), tmp_path / "calls"
    first = refine(greys, out, scorer, Policy())
    assert len(calls.read_text()) == 32
    assert refine(greys, out, scorer, Policy()).manifest == first.manifest
    with pytest.raises(InputError, match=r"another data set.*--overwrite"):
        refine(greys, out, scorer, Policy(threshold=0.95))
    assert refine(greys, out, scorer, Policy(unlabelled="keep"), overwrite=True).manifest.rows == 20
    assert len(calls.read_text()) == 32


def test_a_damaged_image_is_counted_and_the_rest_goes_on(
    greys: str, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Dataset.images
    monkeypatch.setattr(Dataset, "images", lambda *a: [b"no image", *whole(*a)[1:]])
    done = refine(greys, str(tmp_path / "refined"), scorer, Policy())
    assert done.manifest.skipped["unreadable"] == 1
    assert np.isnan(score_dataset(Blocks(open_dataset(greys), scorer, str(tmp_path / "again")))[0]).all()


def test_the_source_is_never_its_own_result(greys: str, scorer: Scorer) -> None:
    with pytest.raises(InputError, match="is the source itself"):
        refine(greys, greys, scorer, Policy())


def test_nothing_left_is_an_error_of_one_line(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing usable.*low confidence"):
        refine(greys, str(tmp_path / "refined"), scorer, Policy(threshold=1.0, unknown_class="drop"))


def test_the_printed_table_names_every_domain(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    shown = report(refine(greys, str(tmp_path / "refined"), scorer, Policy()))
    assert list(shown.columns[0].cells) == [*EXPRESSIONS, "(none)", "all"]
    assert json.loads((tmp_path / "refined" / "manifest.json").read_text())["source"]["reader"] == "refine"


def test_a_network_scores_an_image_and_its_mirror_image_alike() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    score = network_score(network, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), np.uint8)
    found = score(images)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, score(np.ascontiguousarray(images[..., ::-1])), rtol=1e-5)


def test_the_reasons_are_those_that_are_documented() -> None:
    assert pure.REASONS == (
        "kept",
        "label disagrees",
        "low confidence",
        "class unknown to the classifier",
        "no label",
        "unreadable",
    )


# -- blocks of scores ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process between two blocks."""


def dying_score(calls: Path, after: int) -> Score:
    """Scores, until ``after`` images are done."""
    score = grey_score(calls)

    def dying(images: Pixels) -> Scores:
        if calls.exists() and len(calls.read_text()) >= after:
            raise Killed
        return score(images)

    return dying


def test_what_a_killed_run_has_scored_is_not_scored_again(greys: str, scorer: Scorer, tmp_path: Path) -> None:
    calls, out = tmp_path / "calls", str(tmp_path / "refined")
    dying = replace(scorer, make=partial(dying_score, calls, 18))
    with pytest.raises(Killed):
        refine(greys, out, dying, Policy(), block=6)
    assert len(calls.read_text()) == 18
    told: list[tuple[int, int]] = []
    done = refine(greys, out, scorer, Policy(), block=6, on_scored=lambda *each: told.append(each))
    assert len(calls.read_text()) == 32  # 14 more, not 32
    assert told == [(18, 32), (6, 32), (6, 32), (2, 32)]
    whole = refine(greys, str(tmp_path / "whole"), scorer, Policy())
    assert pq.read_table(done.decisions).equals(pq.read_table(whole.decisions))
    assert done.manifest.content_hash == whole.manifest.content_hash
    assert not (tmp_path / "refined" / "scores").exists()


def test_a_damaged_block_and_those_of_another_classifier_are_not_taken(
    greys: str, scorer: Scorer, tmp_path: Path
) -> None:
    blocks = Blocks(open_dataset(greys), scorer, str(tmp_path / "scores"), size=10)
    scores = score_dataset(blocks)
    stored = sorted(Path(blocks.uri).iterdir())
    assert len(stored) == 4
    stored[1].write_bytes(stored[1].read_bytes()[:-20])
    stored[2].unlink()
    np.testing.assert_array_equal(score_dataset(blocks), scores)
    assert len((tmp_path / "calls").read_text()) == 32 + 20
    other = Blocks(blocks.dataset, replace(scorer, name="greys 1.1"), blocks.folder, size=10)
    score_dataset(other)
    assert len((tmp_path / "calls").read_text()) == 32 + 20 + 32
    with pytest.raises(InputError, match="--block 0"):
        Blocks(blocks.dataset, scorer, blocks.folder, size=0)


@pytest.fixture
def by_value() -> Iterator[None]:
    """Workers of Ray cannot import a test: what is defined here travels to them whole."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def killing_score(calls: Path, victims: Path) -> Score:
    """Kills the first process that has scored ten images, as the system does when memory is out."""
    score = grey_score(calls)

    def killing(images: Pixels) -> Scores:
        with contextlib.suppress(FileExistsError):
            if calls.exists() and len(calls.read_text()) >= 10:
                with victims.open("x") as file:
                    file.write(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
        return score(images)

    return killing


def test_a_pool_of_ray_scores_as_one_process_does_although_a_worker_is_killed(
    greys: str, scorer: Scorer, tmp_path: Path, by_value: None
) -> None:
    alone = score_dataset(Blocks(open_dataset(greys), scorer, str(tmp_path / "alone"), size=5))
    calls, victims = tmp_path / "pool-calls", tmp_path / "victims"
    killing = replace(scorer, make=partial(killing_score, calls, victims))
    pool = Blocks(open_dataset(greys), killing, str(tmp_path / "pool"), size=5)
    np.testing.assert_array_equal(score_dataset(pool, parallel=2), alone)
    assert victims.read_text()
    assert len(calls.read_text()) == 32  # stored blocks were not scored again
    missing = Blocks(open_dataset(greys), scorer, str(tmp_path / "missing"), size=5)
    with pytest.raises(InputError, match=r"--parallel 999.*CPUs"):
        score_dataset(missing, parallel=999)
