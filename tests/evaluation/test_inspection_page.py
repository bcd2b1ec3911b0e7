"""The page on a data set: it loads nothing, escapes what data call themselves, and shows what was found.

pytest tests/evaluation/test_inspection_page.py
"""

from __future__ import annotations

import html.parser
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted import DOMAINS, damage, encoded, noise, row, sound, write

from stargan_ray.data.image_facts import measure
from stargan_ray.data.inspection import findings
from stargan_ray.data.schema import Row
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.verdict import judge
from stargan_ray.evaluation.inspection_charts import charts
from stargan_ray.evaluation.inspection_page import render
from stargan_ray.evaluation.thumbnails import SIDE, Thumbnails, thumbnails

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.invalid/x.png onerror=x>"


class Page(html.parser.HTMLParser):
    """What a browser would load, the text it shows, and whether the tags close."""

    void = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str | None] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.loads += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "poster"}]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def made(folder: Path, sample: int = 2, seed: int = 0) -> tuple[str, dict[str, Any], Thumbnails]:
    dataset = open_dataset(str(folder))
    facts = measure(dataset, np.arange(len(dataset)))
    found = findings(dataset, facts)
    pictures = thumbnails(dataset, facts, sample=sample, seed=seed)
    return render(found, judge(found), pictures, charts(found)), found, pictures


def faulty() -> list[Row]:
    """Something for every section."""
    same, size = encoded(noise(1)), encoded(noise(2, size=(300, 200)), "JPEG")
    return [
        *sound(6),
        row("leak a", same, identity="ann"),
        row("leak b", same, expression=1, identity="bob", split="val"),
        row("twice a", size),
        row("twice b", size),
        row("black", encoded(noise(3, 0, 1)), identity="val-person-0"),
        row("broken", b"no image", expression=None),
    ]


def test_the_page_loads_nothing_and_its_tags_close(tmp_path: Path) -> None:
    for name, rows in (("good", sound(4)), ("bad", faulty()), ("bare", [row("a", expression=None)])):
        write(tmp_path / name, rows)
        text, _, _ = made(tmp_path / name)
        page = Page(text)
        assert page.open == []
        assert not page.tags & {"script", "link", "iframe", "object", "embed"}
        assert page.loads
        assert all(re.match(r"data:image/(jpeg|svg\+xml);base64,", value or "") for value in page.loads)
        style = re.search(r"<style>(.*?)</style>", text, re.S)
        assert style
        assert not re.search(r"url\(|@import|https?:", style[1])
        assert "http" not in re.sub(r"data:image/[^\"]*", "", text)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    same = encoded(noise(1))
    rows = [
        row(HOSTILE, same, identity=HOSTILE),
        row(HOSTILE + "2", same, expression=1, identity=HOSTILE, split="val"),
        row(HOSTILE + "3", b"no image"),
        row(HOSTILE + "4", encoded(noise(2, 0, 1)), expression=1),
    ]
    write(tmp_path, rows, (HOSTILE, "$a^{b$ 中"))
    page = Page(made(tmp_path)[0])
    assert page.open == []
    assert not page.tags & {"script"}
    assert "onerror" not in page.attributes
    assert all((value or "").startswith("data:image/") for value in page.loads)
    assert page.text.count(HOSTILE) > 6


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    write(tmp_path, faulty())
    text, found, _ = made(tmp_path)
    said = Page(text).text
    verdict = judge(found)
    for line in (*verdict.problems, *verdict.worth_a_look):
        assert line in said
    assert said.index("Problems") < said.index("Worth a look") < said.index("How many")
    for part in ("leak b", "twice b", "not an image", "Near duplicates", "300 × 200", "21,250,000", "337,101,086"):
        assert part in said
    assert f"{found['pairs']['total']:,} ordered pairs" in said


def test_a_sound_set_is_called_sound(tmp_path: Path) -> None:
    write(tmp_path, sound(4))
    said = Page(made(tmp_path)[0]).text
    assert "None found." in said
    assert "Nothing stands out." in said
    assert "No image is there twice." in said


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, [*sound(4), *(row(f"broken {n:02d}", b"no image") for n in range(33))])
    said = Page(made(tmp_path)[0]).text
    assert "broken 19" in said
    assert "broken 20" not in said
    assert "And 13 more in inspect.json" in said


def test_pictures_are_chosen_by_the_seed_and_show_their_rows(tmp_path: Path) -> None:
    write(tmp_path, faulty())
    _, found, pictures = made(tmp_path, sample=3)
    assert {name: len(chosen) for name, chosen in pictures.expressions.items()} == dict.fromkeys(DOMAINS, 3)
    assert pictures == made(tmp_path, sample=3)[2]
    assert pictures != made(tmp_path, sample=3, seed=1)[2]
    shown = [each.key for group in (pictures.expressions, pictures.extremes) for row in group.values() for each in row]
    assert "broken" not in shown
    assert pictures.extremes["darkest"][0].key == pictures.extremes["flattest"][0].key == "black"
    assert {each.key for each in pictures.extremes["largest"][:2]} == {"twice a", "twice b"}
    assert pictures.extremes["smallest"][0].width == 12
    assert set(pictures.copies) == {
        group["content_hash"] for kind in ("across_splits", "within_split") for group in found["copies"][kind]
    }
    for each in pictures.extremes["largest"]:
        assert max(Image.open(io.BytesIO(each.jpeg)).size) == min(SIDE, max(each.width, each.height))
    assert made(tmp_path, sample=0)[2].expressions == {name: [] for name in DOMAINS}


def test_a_set_of_one_size_shows_no_smallest(tmp_path: Path) -> None:
    write(tmp_path, sound(4))
    assert set(made(tmp_path)[2].extremes) == {"darkest", "flattest"}


def test_a_set_of_which_nothing_decodes_has_a_page(tmp_path: Path) -> None:
    write(tmp_path, [row("a"), row("b", b"no image")])
    damage(tmp_path, "a", b"")
    text, found, pictures = made(tmp_path)
    assert found["images"]["decoded"] == 0
    assert (pictures.expressions, pictures.copies) == ({}, {})
    assert "2 rows that cannot be read" in Page(text).text


@pytest.mark.parametrize("different", [1, 30])
def test_charts_are_the_same_bytes_each_time(different: int, tmp_path: Path) -> None:
    rows = [row(f"{n}", encoded(noise(n, size=(10 + n % different, 12))), identity=f"{n // 3}") for n in range(40)]
    write(tmp_path, rows)
    found = made(tmp_path)[1]
    drawn = charts(found)
    assert set(drawn) == {"rows", "people", "brightness", "contrast", "sizes"}
    assert all(svg.startswith(b"<?xml") for svg in drawn.values())
    assert drawn == charts(found)
