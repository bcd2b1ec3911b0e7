"""Verdicts of people: stored at once, never overwritten by another, taken back, settled and laid on the rows.

pytest tests/data/test_reviews.py
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargan_ray.data import storage
from stargan_ray.data.review_outcomes import Outcome, apply, settled
from stargan_ray.data.reviews import Action, Reviews, Session, Verdict, read_reviews
from stargan_ray.errors import InputError

DOMAINS = ("calm", "glad", "sad")
START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def clock(step: timedelta = timedelta(seconds=1), start: datetime = START) -> Callable[[], datetime]:
    def ticks() -> Iterator[datetime]:
        time = start
        while True:
            yield time
            time += step

    return ticks().__next__


def verdict(
    key: str, action: Action, new_label: str | None = None, *, by: str = "ann", at: int = 0, label: str | None = "calm"
) -> Verdict:
    when = (START + timedelta(seconds=at)).isoformat(timespec="microseconds")
    image = f"image of {key}"
    return Verdict(key=key, content_hash=image, label=label, action=action, new_label=new_label, reviewer=by, at=when)


def said(reviews: Reviews) -> dict[tuple[str, str], str]:
    return {(each.reviewer, each.key): each.new_label or each.action for each in reviews.standing}


# -- the store ----------------------------------------------------------------------------------------------


def test_a_verdict_is_on_storage_when_it_was_given(tmp_path: Path) -> None:
    data = str(tmp_path / "faces")
    assert read_reviews(data) == Reviews()
    session = Session(data, "ann")
    given = session.judge("a", "hash a", "calm", "relabel", "glad")
    assert read_reviews(data).entries == (given,)
    assert (given.key, given.content_hash, given.label, given.new_label) == ("a", "hash a", "calm", "glad")
    assert given.reviewer == "ann"
    assert datetime.now(UTC) - datetime.fromisoformat(given.at) < timedelta(seconds=30)


def test_sessions_and_reviewers_never_share_a_file(tmp_path: Path) -> None:
    data = str(tmp_path)
    sessions = [Session(data, name, clock()) for name in ("ann", "ann", "ann.b", "bob")]

    def sit(session: Session, number: int) -> None:
        for k in range(25):
            session.judge(f"{number}-{k}", "hash", "calm", "keep")

    threads = [threading.Thread(target=sit, args=(each, n)) for n, each in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "reviews").iterdir())) == 4
    assert {each.key for each in read_reviews(data).standing} == {f"{n}-{k}" for n in range(4) for k in range(25)}


def test_the_later_verdict_of_a_reviewer_wins_over_his_own_alone(tmp_path: Path) -> None:
    data = str(tmp_path)
    Session(data, "ann").judge("a", "h", "calm", "keep")
    Session(data, "bob").judge("a", "h", "calm", "drop")
    Session(data, "ann").judge("a", "h", "calm", "relabel", "sad")
    assert said(read_reviews(data)) == {("ann", "a"): "sad", ("bob", "a"): "drop"}


def test_a_clock_that_was_set_back_does_not_let_the_older_verdict_win(tmp_path: Path) -> None:
    data = str(tmp_path)
    Session(data, "ann", clock()).judge("a", "h", "calm", "keep")
    late = Session(data, "ann", clock(timedelta(seconds=-1), START - timedelta(days=1)))
    late.judge("a", "h", "calm", "drop")
    assert said(read_reviews(data)) == {("ann", "a"): "drop"}
    late.judge("a", "h", "calm", "relabel", "sad")
    assert said(read_reviews(data)) == {("ann", "a"): "sad"}


def test_undo_takes_back_the_latest_verdict_also_of_an_earlier_session(tmp_path: Path) -> None:
    data = str(tmp_path)
    Session(data, "ann").judge("a", "h", "calm", "keep")
    Session(data, "bob").judge("a", "h", "calm", "drop")
    later = Session(data, "ann")
    later.judge("a", "h", "calm", "relabel", "sad")
    later.judge("a", "h", "calm", "undo")
    assert said(read_reviews(data)) == {("ann", "a"): "keep", ("bob", "a"): "drop"}
    later.judge("a", "h", "calm", "undo")
    assert said(read_reviews(data)) == {("bob", "a"): "drop"}
    with pytest.raises(InputError, match=r"undo of 'a': ann has no verdict"):
        later.judge("a", "h", "calm", "undo")
    later.judge("a", "h", "calm", "keep")
    assert said(read_reviews(data)) == said(later.reviews) == {("ann", "a"): "keep", ("bob", "a"): "drop"}


def test_what_could_not_be_written_was_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(str(tmp_path), "ann")
    session.judge("a", "h", "calm", "keep")

    def full(uri: str, data: bytes) -> None:
        raise storage.StorageError(f"cannot write {uri}: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", full)
        with pytest.raises(InputError, match="the disk is full"):
            session.judge("b", "h", "calm", "drop")
    session.judge("c", "h", "calm", "drop")
    assert said(session.reviews) == said(read_reviews(str(tmp_path))) == {("ann", "a"): "keep", ("ann", "c"): "drop"}


def test_others_are_seen_after_a_refresh(tmp_path: Path) -> None:
    ann, bob = Session(str(tmp_path), "ann"), Session(str(tmp_path), "bob")
    ann.judge("a", "h", "calm", "keep")
    bob.judge("b", "h", "calm", "keep")
    assert said(ann.reviews) == {("ann", "a"): "keep"}
    ann.refresh()
    assert said(ann.reviews) == {("ann", "a"): "keep", ("bob", "b"): "keep"}


def test_a_bucket_holds_reviews_as_a_folder_does(s3: str) -> None:
    data = storage.join(s3, "some faces")
    ann, bob = Session(data, "ann"), Session(data, "bob")
    for k in range(3):
        ann.judge(f"{k}", "h", "calm", "keep")
        bob.judge(f"{k}", "h", "calm", "relabel", "glad")
    bob.judge("1", "h", "calm", "undo")
    assert len(storage.list_names(storage.join(data, "reviews"))) == 2
    assert said(read_reviews(data)) == {
        **{("ann", f"{k}"): "keep" for k in range(3)},
        **{("bob", f"{k}"): "glad" for k in (0, 2)},
    }


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "ann bob", "ann\n", "ä", "a" * 65, "a%2f"])
def test_a_name_that_could_be_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--reviewer .*allowed are 1 to 64 letters"):
        Session(str(tmp_path), name)


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    session = Session(str(tmp_path), "ann")
    session.judge("a", "h", "calm", "keep")
    path = Path(session.uri)
    whole = json.loads(path.read_text())
    entry = whole["verdicts"][0]
    damaged = [
        path.read_text()[:-20],
        "[]",
        json.dumps(whole | {"version": 2}),
        json.dumps(whole | {"reviewer": "../ann"}),
        json.dumps(whole | {"verdicts": [entry | {"action": "burn"}]}),
        json.dumps(whole | {"verdicts": [entry | {"more": "x"}]}),
        json.dumps(whole | {"verdicts": [entry | {"key": 5}]}),
        json.dumps(whole | {"verdicts": ["a"]}),
        json.dumps(whole | {"verdicts": [entry | {"at": "yesterday"}]}),
        json.dumps(whole | {"verdicts": [entry | {"at": "2026-11-25T12:00:00+02:00"}]}),
        json.dumps(whole | {"verdicts": [{k: v for k, v in entry.items() if k != "label"}]}),
    ]
    for text in damaged:
        path.write_text(text)
        with pytest.raises(InputError, match=r"ann.*\.json is no whole file of reviews") as error:
            read_reviews(str(tmp_path))
        assert "\n" not in str(error.value), text
    path.write_text(json.dumps(whole))
    (path.parent / f".{path.name}.0badf00d.tmp").write_text("{")  # what a killed writer leaves
    assert len(read_reviews(str(tmp_path)).entries) == 1


@pytest.mark.parametrize(
    ("action", "new_label", "label", "told"),
    [
        ("relabel", None, "calm", "a new label goes with relabel"),
        ("keep", "glad", "calm", "a new label goes with relabel"),
        ("relabel", "calm", "calm", "that is keep"),
        ("keep", None, None, "no label to confirm"),
        ("burn", None, "calm", "unknown action 'burn'"),
    ],
)
def test_a_verdict_that_means_nothing_is_refused(
    action: Action, new_label: str | None, label: str | None, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        verdict("a", action, new_label, label=label)


# -- what they come to ----------------------------------------------------------------------------------------


def test_agreement_and_majority_decide_and_a_tie_does_not() -> None:
    found = settled(
        [
            verdict("one", "keep"),
            verdict("agreed", "relabel", "sad"),
            verdict("agreed", "relabel", "sad", by="bob"),
            verdict("majority", "drop"),
            verdict("majority", "keep", by="bob"),
            verdict("majority", "drop", by="cy"),
            verdict("tie", "keep"),
            verdict("tie", "drop", by="bob"),
            verdict("other labels", "relabel", "sad"),
            verdict("other labels", "relabel", "glad", by="bob"),
            # two of four are most, and not more than half
            verdict("most", "keep"),
            verdict("most", "keep", by="bob"),
            verdict("most", "drop", by="cy"),
            verdict("most", "relabel", "sad", by="di"),
        ]
    )
    assert found.outcomes == {
        "one": Outcome("keep"),
        "agreed": Outcome("relabel", "sad"),
        "majority": Outcome("drop"),
    }
    assert found.disputed == ("most", "other labels", "tie")


def test_verdicts_are_laid_on_the_rows_they_were_given_for() -> None:
    keys = ["kept", "dropped", "relabelled", "new image", "new label", "nobody", "tie", "unlabelled"]
    labels = [*["calm"] * 4, "glad", "calm", "calm", None]
    hashes = [f"image of {key}" for key in keys]
    hashes[3] = "another"
    reviews = Reviews(
        (
            verdict("kept", "keep", at=1),
            verdict("dropped", "drop", at=2),
            verdict("relabelled", "relabel", "sad", at=3),
            verdict("new image", "drop", at=4),
            verdict("new image", "drop", at=5, by="bob"),
            verdict("new label", "drop", at=6),
            verdict("tie", "keep", at=7),
            verdict("tie", "drop", at=8, by="bob"),
            verdict("gone", "drop", at=9),
            verdict("gone", "drop", at=10, by="bob"),
            verdict("unlabelled", "relabel", "glad", at=11, label=None),
        )
    )
    index = pa.table({"key": keys, "content_hash": hashes})
    found = apply(index, labels, DOMAINS, reviews)
    assert found.outcomes == {
        0: Outcome("keep"),
        1: Outcome("drop"),
        2: Outcome("relabel", "sad"),
        7: Outcome("relabel", "glad"),
    }
    assert (found.disputed, found.stale, found.unknown_keys) == (1, 3, 1)
    # a stale vote does not take part: what is left decides
    renewed = reviews.plus(verdict("tie", "drop", by="bob", label="glad", at=20))
    assert apply(index, labels, DOMAINS, renewed).outcomes[6] == Outcome("keep")


def test_a_label_that_there_is_not_is_refused() -> None:
    reviews = Reviews((verdict("a", "relabel", "sod"),))
    with pytest.raises(InputError, match=r"ann on 'a': unknown label 'sod': did you mean 'sad'\?"):
        apply(pa.table({"key": ["a"], "content_hash": ["image of a"]}), ["calm"], DOMAINS, reviews)


ENTRIES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["keep", "drop", "glad", "sad", "undo"]), st.sampled_from("xy")),
    max_size=30,
)


@given(ENTRIES)
def test_replaying_is_a_stack_for_each_reviewer_and_key(entries: list[tuple[str, str, str]]) -> None:
    """Against a plain reference; and verdicts that mean the same have one fingerprint, whenever they were given."""
    stacks: dict[tuple[str, str], list[str]] = {}
    given = Reviews()
    for at, (key, what, by) in enumerate(entries):
        stack = stacks.setdefault((by, key), [])
        relabel = what in ("glad", "sad")
        action: Action = "relabel" if relabel else what  # type: ignore[assignment]
        given = given.plus(verdict(key, action, what if relabel else None, by=by, at=at))
        stack[-1:] = [] if what == "undo" else [*stack[-1:], what]
    held = {who: stack[-1] for who, stack in stacks.items() if stack}
    assert said(given) == held
    again = Reviews()
    for at, ((by, key), what) in enumerate(sorted(held.items())):
        relabel = what in ("glad", "sad")
        action = "relabel" if relabel else what  # type: ignore[assignment]
        again = again.plus(verdict(key, action, what if relabel else None, by=by, at=1000 + at))
    assert again.fingerprint == given.fingerprint
    more = again.plus(verdict("d", "keep", at=5000))
    assert more.fingerprint != given.fingerprint
    assert again.of("x").standing == tuple(each for each in again.standing if each.reviewer == "x")
