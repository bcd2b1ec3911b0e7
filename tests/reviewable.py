"""A small filtered data set to review: pictures in two domains, and a table of decisions as the filter writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from planted import GivenUnit, row, write

from stargan_ray.data.faces import FacesConfig, count, generate
from stargan_ray.data.schema import EXPRESSIONS, Row, Truth
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source, write_table
from stargan_ray.data.writing import write_dataset

DOMAINS = ("calm", "glad", "odd")
CLASSES = ("calm", "glad")  # the classifier knows nothing of what is odd


def line(number: int, label: int | None, own: float, *, kept: bool, reason: str) -> dict[str, Any]:
    """A row and what became of it; ``own`` = the probability of its own label (of calm where that has none)."""
    name = None if label is None else DOMAINS[label]
    place = label if label in (0, 1) else 0
    scores = [1 - own, 1 - own]
    scores[place] = own
    best = int(np.argmax(scores))
    told = {"key": f"{number:04d}.png", "label": name, "predicted": CLASSES[best], "confidence": scores[best]}
    return {**told, "p_calm": scores[0], "p_glad": scores[1], "kept": kept, "reason": reason}


def lines(per_domain: int = 60) -> list[dict[str, Any]]:
    """Of calm and of glad: a third dropped, a third kept near the threshold, a third kept with confidence; 6 odd
    rows, 4 without a label and 1 that cannot be read.
    """
    fates = [(0.2, False, "label disagrees"), (0.5, True, "kept"), (0.95, True, "kept")]
    told = []
    for number in range(2 * per_domain):
        own, kept, reason = fates[number // 2 % 3]
        told.append(line(number, number % 2, own, kept=kept, reason=reason))
    start = len(told)
    told += [line(start + n, 2, 0.6, kept=True, reason="class unknown to the classifier") for n in range(6)]
    told += [line(start + 6 + n, None, 0.6, kept=False, reason="no label") for n in range(4)]
    return [*told, line(start + 10, 0, float("nan"), kept=False, reason="unreadable")]


def write_refined(
    folder: Path,
    told: Sequence[dict[str, Any]] | None = None,
    *,
    images: dict[str, bytes] | None = None,
    policy: dict[str, Any] | None = None,
    rows: Sequence[Row | Truth] | None = None,
    domains: Sequence[str] = DOMAINS,
    classes: Sequence[str] = CLASSES,
) -> tuple[str, str]:
    """Write a source and its refined data set below a folder; gives their URIs."""
    told = lines() if told is None else told
    if rows is None:
        label = {name: number for number, name in enumerate(domains)}
        rows = [row(each["key"], (images or {}).get(each["key"]), expression=label.get(each["label"])) for each in told]
    source, refined = folder / "source", folder / "refined"
    write(source, rows, domains)
    described = {
        "reader": "refine",
        "data": str(source),
        "content_hash": open_dataset(str(source)).manifest.content_hash,
        "policy": {"threshold": 0.4} if policy is None else policy,
    }
    kept = {each["key"] for each in told if each["kept"]}
    unit = GivenUnit(0, tuple(each for each in rows if isinstance(each, Row) and each.key in kept))
    write_dataset(str(refined), Source(described, tuple(domains), (unit,)), overwrite=True)
    meta = {"content_hash": described["content_hash"], "classifier": "a test's", "classes": list(classes)}
    table = pa.Table.from_pylist(list(told)).append_column("weight", pa.array(np.ones(len(told))))
    table = table.replace_schema_metadata({b"stargan-ray": json.dumps(meta)})
    write_table(str(refined / "decisions.parquet"), table)
    return str(source), str(refined)


def faces(folder: Path, people: int = 6) -> tuple[str, str]:
    """Generated faces of 32 pixels, a third of them labelled wrongly, and a filter that errs in every tenth row."""
    config = FacesConfig(people=people, images_per_person=8, size=32, label_noise=0.35)
    rng = np.random.default_rng(0)
    rows, told = [], []
    for each, truth in generate(config, 0, count(config)):
        shown = truth.expression if rng.random() > 0.1 else int(rng.integers(8))
        scores = rng.dirichlet(np.full(8, 0.3)) * 0.3
        scores[shown] += 0.7
        assert each.expression is not None
        own, best = float(scores[each.expression]), int(scores.argmax())
        kept = best == each.expression
        rows += [each, truth]
        told.append(
            {
                "key": each.key,
                "label": EXPRESSIONS[each.expression],
                "predicted": EXPRESSIONS[best],
                "confidence": float(scores.max()),
                **{f"p_{name}": float(score) for name, score in zip(EXPRESSIONS, scores, strict=True)},
                "kept": kept and own >= 0.4,
                "reason": "label disagrees" if not kept else "kept" if own >= 0.4 else "low confidence",
            }
        )
    return write_refined(folder, told, rows=rows, domains=EXPRESSIONS, classes=EXPRESSIONS)
