"""The review's page in a real browser, worked by real key presses and clicks; skipped where there is no Chromium.

pytest tests/runtime/test_review_page.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chromium import Tab, browser, executable
from reviewable import faces
from served_review import ServedReview

from stargan_ray.data.review_outcomes import apply
from stargan_ray.data.reviews import read_reviews
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset

pytestmark = pytest.mark.skipif(executable() is None, reason="Chromium is not installed (Debian: apt install chromium)")
NewTab = Callable[[], Tab]


@pytest.fixture(scope="module")
def new_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewTab]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def uris(tmp_path: Path) -> tuple[str, str]:
    return faces(tmp_path)


def opened(new_tab: NewTab, job: ServedReview) -> Tab:
    tab = new_tab()
    tab.resize(1280, 800)  # all of it is in sight: nothing scrolls between looking and clicking
    tab.open(job.url)
    ready(tab)
    return tab


def ready(tab: Tab, judged: int | None = None) -> None:
    """The last act is done and, where told, so many faces are judged."""
    count = "" if judged is None else f" && document.querySelector('#judged').textContent === '{judged}'"
    tab.wait(f"document.querySelector('#saved.yes'){count}")


def label(tab: Tab) -> str:
    return tab.text("#question em")


def place(tab: Tab) -> int:
    return int(tab.text("#where").split()[1]) - 1


def said(source: str) -> list[tuple[str, str | None]]:
    return [(each.action, each.new_label) for each in read_reviews(source).standing]


def test_keys_judge_undo_skip_and_go_back(new_tab: NewTab, uris: tuple[str, str]) -> None:
    source, refined = uris
    with ServedReview(refined, "ann") as job:
        tab = opened(new_tab, job)
        assert tab.value("location.href") == f"http://{job.host}/"  # the token is out of the address
        assert (place(tab), tab.text("#judged")) == (0, "0")
        assert tab.value("document.querySelector('#frame img').naturalWidth") == 32

        tab.press("k")
        ready(tab, 1)
        assert said(source) == [("keep", None)]
        assert place(tab) == 1

        tab.press("d")
        ready(tab, 2)
        assert said(source)[-1] == ("drop", None)

        other = next(number for number, name in enumerate(EXPRESSIONS) if name != label(tab))
        tab.press(str(other + 1))
        ready(tab, 3)
        assert said(source)[-1] == ("relabel", EXPRESSIONS[other])

        own = EXPRESSIONS.index(label(tab))
        tab.press(str(own + 1))  # its own label: right
        ready(tab, 4)
        assert said(source)[-1] == ("keep", None)

        tab.press("u")
        ready(tab, 3)
        assert len(said(source)) == 3
        assert place(tab) == 3

        for key, face in (("s", 5), ("ArrowLeft", 4), ("ArrowLeft", 3)):
            tab.press(key)
            tab.wait(f"document.querySelector('#where').textContent.startsWith('face {face} ')")
            ready(tab)
        assert tab.text("#stood").startswith(f"You said: it is {EXPRESSIONS[other]}.")
        assert len(said(source)) == 3  # looking changes nothing

        # What is stored is what the next refine is told.
        dataset = open_dataset(source)
        index, names = dataset.index, dataset.manifest.domains
        labels = [names[number] for number in index["expression"].to_pylist()]
        applied = apply(index, labels, names, read_reviews(source))
        assert len(applied.outcomes) == 3
        assert (applied.disputed, applied.stale, applied.unknown_keys) == (0, 0, 0)
        assert tab.complaints == []


def test_a_key_that_comes_while_a_verdict_is_stored_falls_on_no_face(new_tab: NewTab, uris: tuple[str, str]) -> None:
    source, refined = uris
    with ServedReview(refined, "ann") as job:
        tab = opened(new_tab, job)
        slow = (
            "window.fetch = (f => (...a) => new Promise(go => setTimeout(go, 300)).then(() => f(...a)))(window.fetch)"
        )
        tab.value(f"void ({slow})")
        tab.press("k", "d", "d")
        ready(tab, 1)
        assert (place(tab), said(source)) == (1, [("keep", None)])
        tab.press("d")
        ready(tab, 2)
        assert said(source) == [("keep", None), ("drop", None)]


def test_the_prediction_shows_itself_after_the_verdict(new_tab: NewTab, uris: tuple[str, str]) -> None:
    with ServedReview(uris[1], "ann") as job:
        tab = opened(new_tab, job)
        assert tab.text("#prediction .veil").startswith("Hidden until you have judged")
        assert "%" not in tab.text("#prediction")
        tab.press("d")
        ready(tab, 1)
        assert tab.text("#prediction .veil").startswith("Hidden")
        assert "✕ drop" in tab.text("#film")
        assert "%" in tab.text("#film .guess")
        tab.press("ArrowLeft")
        tab.wait("document.querySelector('#prediction .veil') === null")
        assert tab.text("#prediction").count("%") == 8
        assert tab.text("#prediction .fate").startswith("The filter:")
        assert tab.value("document.querySelector('#drop').getAttribute('aria-pressed')") == "true"
    with ServedReview(uris[1], "bob", "--no-blind") as job:
        tab = opened(new_tab, job)
        assert tab.text("#prediction").count("%") == 8


def test_the_mouse_does_what_keys_do(new_tab: NewTab, uris: tuple[str, str]) -> None:
    source, refined = uris
    with ServedReview(refined, "ann") as job:
        tab = opened(new_tab, job)
        tab.click("#keep")
        ready(tab, 1)
        tab.press(" ")  # a space after a click must not judge the next face
        tab.click("#drop")
        ready(tab, 2)
        number = 1 if label(tab) != EXPRESSIONS[0] else 2
        tab.click(f"#labels button:nth-child({number})")
        ready(tab, 3)
        assert said(source) == [("keep", None), ("drop", None), ("relabel", EXPRESSIONS[number - 1])]
        tab.click("#undo")
        ready(tab, 2)
        tab.click("#film li:last-child button")  # the first verdict
        tab.wait("document.querySelector('#where').textContent.startsWith('face 1 ')")
        ready(tab)
        tab.click("#help")
        tab.wait("document.querySelector('#keys').open")
        tab.press("d")  # keys belong to the list while it is open
        tab.press("Escape")
        tab.wait("!document.querySelector('#keys').open")
        tab.press("?")
        tab.wait("document.querySelector('#keys').open")
        assert said(source) == [("keep", None), ("drop", None)]


def test_a_killed_server_has_every_key_press_and_the_page_says_that_it_is_gone(
    new_tab: NewTab, uris: tuple[str, str]
) -> None:
    source, refined = uris
    with ServedReview(refined, "ann") as job:
        tab = opened(new_tab, job)
        for count, key in enumerate("kd", 1):
            tab.press(key)
            ready(tab, count)
        job.kill()
        assert said(source) == [("keep", None), ("drop", None)]
        tab.press("k")
        tab.wait("!document.querySelector('#trouble').hidden")
        assert tab.text("#trouble").startswith("The job does not answer")
        assert tab.text("#saved") == "not stored"
        assert place(tab) == 2
    with ServedReview(refined, "ann") as job:
        tab = opened(new_tab, job)
        assert (place(tab), tab.text("#judged")) == (2, "2")
        tab.press("u")
        ready(tab, 1)
        assert said(source) == [("keep", None)]


def test_two_reviewers_in_one_browser_keep_to_themselves(new_tab: NewTab, uris: tuple[str, str]) -> None:
    source, refined = uris
    with ServedReview(refined, "ann") as first, ServedReview(refined, "bob") as second:
        ann, bob = opened(new_tab, first), opened(new_tab, second)
        assert (ann.text("#reviewer"), bob.text("#reviewer")) == ("ann", "bob")
        for count in range(1, 4):
            ann.press("k")
            bob.press("d")
            ready(ann, count)
            ready(bob, count)
        by = {name: [e.action for e in read_reviews(source).of(name).standing] for name in ("ann", "bob")}
        assert by == {"ann": ["keep"] * 3, "bob": ["drop"] * 3}


def test_at_the_end_it_says_so_and_the_figures_are_there(new_tab: NewTab, uris: tuple[str, str]) -> None:
    with ServedReview(uris[1], "ann", "--per-class", "1") as job:
        tab = opened(new_tab, job)
        size = int(tab.text("#size"))
        for count in range(1, size + 1):
            tab.press("k")
            ready(tab, count)
        assert tab.text("#done h1") == "Every face of this sample is judged."
        assert tab.value("document.querySelector('.stage').hidden")
        assert "Recall" in tab.text("#estimates")
        tab.press("ArrowLeft")
        tab.wait("!document.querySelector('.stage').hidden")


def test_no_request_leaves_this_machine(new_tab: NewTab, uris: tuple[str, str]) -> None:
    with ServedReview(uris[1], "ann") as job:
        tab = opened(new_tab, job)
        tab.press("k")
        ready(tab, 1)
        hosts = {urlsplit(url).netloc for url in tab.requests}
        assert hosts == {job.host}
        assert {urlsplit(url).path for url in tab.requests} >= {"/", "/files/review.js", "/verdicts", "/pictures/0"}
        # and none could, whatever the page were made to try
        tried = "fetch('http://127.0.0.1:9/').then(() => 'went', e => String(e))"
        assert "Failed to fetch" in tab.value(tried)
        assert tab.complaints
        assert all("Content Security Policy" in line for line in tab.complaints)
