"""The review's server and desk: one browser is let in, verdicts are stored before they are answered, nothing is told
too early; then the figures of everyone.

pytest tests/runtime/test_review.py
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from planted import damage, encoded, row
from reviewable import faces, lines, write_refined

from stargan_ray.data import storage
from stargan_ray.data.decode import decode
from stargan_ray.data.review_sample import SampleConfig
from stargan_ray.data.reviews import Session, read_reviews
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import judge_filter
from stargan_ray.evaluation.truth import read_truth
from stargan_ray.runtime.review import Reviewing, listen, open_review, report, table
from stargan_ray.runtime.review_desk import Desk
from stargan_ray.runtime.review_server import create_app

TOKEN = "a token that works once"
PATHS = (
    "/summary",
    "/cards/0",
    "/pictures/0",
    "/open?after=0",
    "/files/review.js",
    "/docs",
    "/openapi.json",
    "/nothing",
)
OpenDesk = Callable[..., Desk]


@pytest.fixture
def review(tmp_path: Path) -> Reviewing:
    return open_review(write_refined(tmp_path)[1], SampleConfig(per_class=9))


@pytest.fixture
def open_desk(review: Reviewing) -> OpenDesk:
    def opened(reviewer: str = "ann", *, blind: bool = True) -> Desk:
        session = Session(review.refined.dataset.uri, reviewer)
        return Desk(review.refined, review.sample, session, blind=blind)

    return opened


def visit(desk: Desk, host: str = "127.0.0.1:8123") -> TestClient:
    """A browser that has opened the link."""
    client = TestClient(create_app(desk, TOKEN), base_url=f"http://{host}")
    assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


def judge(client: TestClient, place: int, action: str, new_label: str | None = None) -> dict[str, Any]:
    key = client.get(f"/cards/{place}").json()["key"]
    answer = client.post("/verdicts", json={"place": place, "key": key, "action": action, "new_label": new_label})
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- the door -------------------------------------------------------------------------------------------------


def test_the_link_opens_once_and_its_cookie_goes_on(open_desk: OpenDesk) -> None:
    app = create_app(open_desk(), TOKEN)
    browser, other = (TestClient(app, base_url="http://127.0.0.1:8123") for _ in range(2))
    assert other.get("/", params={"token": "a guess"}).status_code == 403  # and a guess does not spend it
    first = browser.get("/", params={"token": TOKEN})
    assert (first.status_code, first.headers["content-type"]) == (200, "text/html; charset=utf-8")
    name, _, rest = first.headers["set-cookie"].partition("=")
    assert name == "review-8123"
    assert {part.strip() for part in rest.split(";")[1:]} == {"HttpOnly", "Path=/", "SameSite=strict"}
    assert TOKEN not in first.headers["set-cookie"]
    for client in (browser, other):
        second = client.get("/", params={"token": TOKEN})
        assert second.status_code == 403
        assert second.text.startswith("This link was used already.")
        assert "\n" not in second.text
    assert browser.get("/").status_code == 200
    assert browser.get("/summary").status_code == 200
    assert other.get("/").text == "This page opens by the link that jobs/review.py has printed."


def test_without_the_cookie_nothing_is_told_or_taken(open_desk: OpenDesk) -> None:
    desk = open_desk()
    visit(desk)
    stranger = TestClient(create_app(desk, TOKEN), base_url="http://127.0.0.1:8123")
    stranger.cookies.set("review-8123", "a guess")
    for path in PATHS:
        assert stranger.get(path).status_code == 403, path
    assert stranger.post("/undo").status_code == 403
    said = {"place": 0, "key": desk.card(0)["key"], "action": "drop"}
    assert stranger.post("/verdicts", json=said).status_code == 403
    assert desk.session.reviews.entries == ()


def test_a_name_that_was_made_to_point_here_is_refused(open_desk: OpenDesk) -> None:
    client = visit(open_desk())
    for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1:8123"):
        assert client.get("/summary", headers={"host": host}).status_code == 400, host
    visit(open_desk(), "localhost:9000")  # a tunnel's end


def test_other_pages_of_this_machine_are_refused(open_desk: OpenDesk) -> None:
    """Browsers send the cookie to every port of a host: it is the origin that tells them apart."""
    desk = open_desk()
    client = visit(desk)
    said = {"place": 0, "key": desk.card(0)["key"], "action": "drop"}
    for origin in ("http://127.0.0.1:9999", "https://evil.example", "null"):
        assert client.post("/verdicts", json=said, headers={"origin": origin}).status_code == 403, origin
    answer = client.options(
        "/verdicts", headers={"origin": "http://127.0.0.1:9999", "access-control-request-method": "POST"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert desk.session.reviews.entries == ()
    assert client.post("/verdicts", json=said, headers={"origin": "http://127.0.0.1:8123"}).status_code == 200


def test_the_page_may_load_its_own_files_alone_and_faces_stay_out_of_files(open_desk: OpenDesk) -> None:
    client = visit(open_desk())
    for path in ("/", "/pictures/0", "/summary", "/files/house.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    page = client.get("/").text
    assert "://" not in page
    assert "style=" not in page
    for name in ("review.css", "house.css", "review.js", "draw.js", "icon.svg"):
        assert client.get(f"/files/{name}").status_code == 200
    assert client.get("/files/page.html").status_code == 404
    assert client.get("/files/..%2freview.py").status_code == 404


# -- the desk -------------------------------------------------------------------------------------------------


def test_what_the_filter_made_of_a_face_is_told_after_the_verdict(open_desk: OpenDesk) -> None:
    client = visit(open_desk())
    before = client.get("/cards/0").json()
    assert (before["prediction"], before["verdict"]) == (None, None)
    judge(client, 0, "drop")
    card = client.get("/cards/0").json()
    fates = {each["key"]: each for each in lines()}
    fate = fates[card["key"]]
    assert card["label"] == fate["label"]
    assert card["verdict"] == {"action": "drop", "new_label": None}
    assert card["prediction"]["predicted"] == fate["predicted"]
    assert card["prediction"]["probabilities"] == pytest.approx({"calm": fate["p_calm"], "glad": fate["p_glad"]})
    assert (card["prediction"]["kept"], card["prediction"]["reason"]) == (fate["kept"], fate["reason"])
    assert client.get("/cards/1").json()["prediction"] is None
    assert client.post("/undo").json()["next"] == 0
    assert client.get("/cards/0").json()["prediction"] is None
    assert visit(open_desk(blind=False)).get("/cards/1").json()["prediction"] is not None


def test_a_verdict_is_on_storage_before_it_is_answered(open_desk: OpenDesk, review: Reviewing) -> None:
    client = visit(open_desk())
    for count, (place, action, label) in enumerate([(0, "keep", None), (1, "drop", None), (0, "relabel", "odd")], 1):
        answer = judge(client, place, action, label)
        stored = read_reviews(review.refined.dataset.uri)
        assert len(stored.entries) == count
        assert (stored.entries[-1].action, stored.entries[-1].new_label) == (action, label)
        assert stored.entries[-1].key == client.get(f"/cards/{place}").json()["key"]
        assert answer["next"] == len({0, place, 1} if count > 1 else {0})
    assert answer["summary"]["judged"] == 2
    assert answer["summary"]["actions"] == {"keep": 0, "drop": 1, "relabel": 1}


def test_what_could_not_be_stored_is_told_and_not_judged(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = open_desk()
    client = visit(desk)
    key = desk.card(0)["key"]

    def full(uri: str, data: bytes) -> None:
        raise storage.StorageError(f"cannot write {uri}: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", full)
        answer = client.post("/verdicts", json={"place": 0, "key": key, "action": "keep"})
    assert answer.status_code == 503
    assert answer.json()["error"].endswith("the disk is full")
    assert client.get("/cards/0").json()["verdict"] is None
    assert judge(client, 0, "keep")["summary"]["judged"] == 1


def test_a_verdict_that_means_nothing_is_refused(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = visit(desk)
    key = desk.card(0)["key"]
    unlabelled = next(place for place in range(len(desk)) if desk.card(place)["label"] is None)
    for said, status, told in (
        ({"place": 1, "key": key, "action": "keep"}, 400, "load the page again"),
        ({"place": 999, "key": key, "action": "keep"}, 400, "there is no face 999: allowed are 0 to"),
        ({"place": 0, "key": key, "action": "relabel", "new_label": "gald"}, 400, "did you mean 'glad'?"),
        ({"place": 0, "key": key, "action": "relabel"}, 400, "a new label goes with relabel"),
        ({"place": unlabelled, "key": desk.card(unlabelled)["key"], "action": "keep"}, 400, "no label to confirm"),
        ({"place": 0, "key": key, "action": "undo"}, 422, "undo"),
        ({"place": 0, "key": key, "action": "keep", "reviewer": "bob"}, 422, "reviewer"),
    ):
        answer = client.post("/verdicts", json=said)
        assert (answer.status_code, told in answer.json().get("error", answer.text)) == (status, True), answer.text
    assert desk.session.reviews.entries == ()


def test_relabelling_to_the_given_label_is_keeping(open_desk: OpenDesk) -> None:
    desk = open_desk()
    judge(visit(desk), 0, "relabel", desk.card(0)["label"])
    assert desk.card(0)["verdict"] == {"action": "keep", "new_label": None}


def test_the_next_face_is_the_next_that_is_not_judged_going_round(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = visit(desk)
    last = len(desk) - 1
    assert judge(client, last, "drop")["next"] == 0
    assert judge(client, 0, "drop")["next"] == 1
    assert client.get("/open", params={"after": 1}).json() == {"next": 2}
    for place in range(1, last):
        answer = judge(client, place, "drop")
    assert answer["next"] is None
    assert client.get("/open", params={"after": 3}).json() == {"next": None}
    assert client.get("/summary").json()["next"] is None


def test_the_same_reviewer_goes_on_and_another_starts_with_his_own(open_desk: OpenDesk) -> None:
    first = visit(open_desk())
    judge(first, 0, "drop")
    judge(first, 1, "drop")
    again = visit(open_desk())
    told = again.get("/summary").json()
    assert (told["next"], told["summary"]["judged"]) == (2, 2)
    assert [each["place"] for each in told["summary"]["recent"]] == [0, 1]
    bob = visit(open_desk("bob"))
    assert bob.get("/summary").json()["next"] == 0
    assert again.post("/undo").json()["next"] == 1  # a verdict of the first session
    assert again.post("/undo").json()["next"] == 0
    assert again.post("/undo").json()["next"] is None
    assert first.get("/").status_code == 200  # loading the page takes in what another session did
    assert first.get("/summary").json()["summary"]["judged"] == 0


def test_verdicts_on_another_image_or_label_do_not_mark_a_face(open_desk: OpenDesk, review: Reviewing) -> None:
    desk = open_desk()
    session = Session(review.refined.dataset.uri, "ann")
    told = desk.card(0)
    session.judge(told["key"], "another image", told["label"], "drop")
    assert open_desk().card(0)["verdict"] is None


def test_a_bucket_is_reviewed_as_a_folder_is(review: Reviewing, s3: str) -> None:
    data, refined = storage.join(s3, "some faces"), storage.join(s3, "refined")
    storage.put_folder(Path(review.refined.dataset.uri), data, last="manifest.json")
    storage.put_folder(Path(review.refined.uri), refined, last="manifest.json")
    remote = open_review(refined, SampleConfig(per_class=9), data=data)
    for name in ("ann", "bob"):
        client = visit(Desk(remote.refined, remote.sample, Session(data, name)))
        assert client.get("/pictures/0").status_code == 200
        judge(client, 0, "drop")
        judge(client, 1, "drop")
        client.post("/undo")
    assert [(each.reviewer, each.action) for each in read_reviews(data).standing] == [("ann", "drop"), ("bob", "drop")]
    assert "judged by ann (1), bob (1)" in report(remote).notes
    assert remote.folder == storage.join(data, "reviews")


def test_two_reviewers_at_once_lose_nothing(open_desk: OpenDesk, review: Reviewing) -> None:
    clients = [visit(open_desk(name)) for name in ("ann", "bob")]
    threads = [
        threading.Thread(target=lambda client=client: [judge(client, place, "drop") for place in range(15)])
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = read_reviews(review.refined.dataset.uri).standing
    assert sorted(each.reviewer for each in stored) == ["ann"] * 15 + ["bob"] * 15


def test_pictures_are_pngs_of_a_size_to_show_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    large = encoded(Image.new("RGB", (1200, 600), (200, 20, 20)), "JPEG")
    source, refined = write_refined(tmp_path, images={each["key"]: large for each in lines()[:1]})
    damage(Path(source), "0001.png", b"no image")
    review = open_review(refined, SampleConfig(per_class=None))
    desk = Desk(review.refined, review.sample, Session(source, "ann"))
    client = visit(desk)
    places = {desk.card(place)["key"]: place for place in range(len(desk))}
    shown = client.get(f"/pictures/{places['0000.png']}")
    assert (shown.headers["content-type"], shown.content[:4]) == ("image/png", b"\x89PNG")
    (tmp_path / "shown.png").write_bytes(shown.content)
    assert Image.open(tmp_path / "shown.png").size == (512, 256)
    small = client.get(f"/pictures/{places['0002.png']}").content
    original = row("0002.png").image
    np.testing.assert_array_equal(decode(small, 12), decode(original, 12))
    broken = client.get(f"/pictures/{places['0001.png']}")
    assert (broken.status_code, broken.json()["error"].startswith("0001.png: not an image")) == (400, True)
    judge(client, places["0001.png"], "drop")


# -- the figures ----------------------------------------------------------------------------------------------


def test_whoever_judges_everything_rightly_is_told_the_truth(tmp_path: Path) -> None:
    source, refined = faces(tmp_path)
    review = open_review(refined, SampleConfig(per_class=None))
    desk = Desk(review.refined, review.sample, Session(source, "ann"))
    truth = read_truth(source)
    for place in range(len(desk)):
        told = desk.card(place)
        shown = review.refined.dataset.manifest.domains[truth[told["key"]].expression]
        desk.judge(place, told["key"], "relabel", shown)
    kept = review.refined.decisions["kept"].to_pylist()
    wrong = [truth[key].corrupted for key in review.refined.decisions["key"].to_pylist()]
    scores, found = judge_filter(kept, wrong), report(review)
    for name in ("precision", "recall", "kept_correct", "noise", "remaining_noise"):
        expected = getattr(scores, name).value
        assert desk.summary()["estimates"][name]["value"] == pytest.approx(expected), name
        ours = getattr(found.total, name)
        assert (ours.value, ours.low, ours.high) == pytest.approx((expected,) * 3, abs=1e-6), name
    assert (found.total.rows, found.total.kept) == (len(kept), sum(kept))


def test_the_report_is_of_everyone_and_says_what_does_not_count(open_desk: OpenDesk, review: Reviewing) -> None:
    uri = review.refined.dataset.uri
    assert report(review).notes[1] == "nobody has judged yet"
    ann, bob = open_desk("ann"), open_desk("bob")
    labelled = [place for place in range(len(ann)) if ann.card(place)["label"] is not None]
    for place in labelled[:6]:
        ann.judge(place, ann.card(place)["key"], "keep")
    for place in labelled[:3]:
        bob.judge(place, bob.card(place)["key"], "keep" if place != labelled[0] else "drop")
    other = Session(uri, "cy")
    other.judge("gone.png", "hash", "calm", "drop")
    other.judge(ann.card(labelled[7])["key"], "another image", "calm", "drop")
    inside = {told["key"] for told in (ann.card(place) for place in range(len(ann)))}
    rows = review.refined.dataset.index.select(["key", "content_hash"]).to_pylist()
    outside = next(row for row in rows if row["key"] not in inside)
    label = review.refined.labels[rows.index(outside)]
    other.judge(outside["key"], outside["content_hash"], label, "drop")
    found = report(review)
    assert found.notes == (
        "the filter dropped 40 of 126 labelled rows",
        "judged by ann (6), bob (3), cy (3)",
        "3 rows judged by more than one reviewer, who agree on 2",
        "1 row without a majority of the reviewers: not counted",
        "1 verdict on images or labels that have changed since: not counted",
        "1 key with verdicts and without a row: not counted",
        "1 row judged outside this sample: applied by the next refine, not estimated from",
    )
    assert found.total.noise.n == 5
    assert report(review, "bob").total.noise.n == 3
    assert list(table(found).columns[0].cells) == ["calm", "glad", "odd", "all"]
    with pytest.raises(InputError, match="--reviewer"):
        report(review, "../bob")


def test_a_class_of_any_name_is_printed_as_it_is(review: Reviewing) -> None:
    found = report(review)
    named = replace(found, classes={"[bold]": found.total})
    assert "[bold]" in "".join(str(cell) for cell in table(named).columns[0].cells).replace("\\", "")


def test_a_port_that_cannot_be_had_is_one_line() -> None:
    with listen(0) as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(InputError, match=rf"--port {port} is in use: choose another, or 0"):
            listen(port)
    with pytest.raises(InputError, match=r"--port 65536: allowed are 0"):
        listen(65536)
