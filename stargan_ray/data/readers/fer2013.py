"""Reader of FER2013: ``fer2013.csv``, ``icml_face_data.csv`` or ``{train,validation,test}/<expression>/*``.

Seven expressions, without contempt. The table's codes and the folders' alphabetical order differ, so both are
taken by name. PublicTest is val and PrivateTest is test; the folder form without a validation folder has both
of them in test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stargan_ray.data.readers.expression_folders import read_class_folders
from stargan_ray.data.readers.files import Limits
from stargan_ray.data.readers.names import SPLIT_FOLDERS
from stargan_ray.data.readers.pixels import USAGES, PixelsUnit, pixel_table
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import File, Tree, locate, open_tree
from stargan_ray.data.units import SHARD_ROWS, Source

FER_EXPRESSIONS = EXPRESSIONS[:-1]  # no contempt
CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # of the column emotion
TABLES = ("fer2013.csv", "icml_face_data.csv")
_SPLITS = SPLIT_FOLDERS | USAGES


@dataclass(frozen=True)
class Fer2013Config:
    """Which copy of FER2013, and what to accept of it.

    Attributes:
        path: the CSV, or the folder with it or with train/ and test/; a path or a URI.
        limits: what is refused.
        allow_missing: accept an expression without images in train or in val.
    """

    path: str
    limits: Limits = field(default_factory=Limits)
    allow_missing: bool = False


def read_fer2013(config: Fer2013Config, shard_rows: int = SHARD_ROWS) -> Source:
    """FER2013 as a source.

    Args:
        config: Which copy.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If nothing is there, the layout is another one, a column or an expression is missing.
    """
    tree = open_tree(config.path, "fer2013.csv, or the folder with train/ and test/")
    layouts: dict[str, Callable[[Tree], Source | None]] = {
        " or ".join(TABLES): lambda here: _read_table(here, config, shard_rows),
        "{train,validation,test}/<expression>/*": lambda here: _read_folders(here, config, shard_rows),
    }
    return locate(tree, "FER2013", layouts)


def _described(tree: Tree, config: Fer2013Config) -> dict[str, object]:
    return {"reader": "fer2013", "path": tree.root, "allow_missing": config.allow_missing}


def _read_table(tree: Tree, config: Fer2013Config, shard_rows: int) -> Source | None:
    table = find_table(tree)
    if table is None:
        return None
    at, parts = pixel_table(*table, shard_rows)
    codes = tuple(FER_EXPRESSIONS.index(name) for name in CODES)
    units = tuple(PixelsUnit(number, "fer2013", lines, at, codes) for number, lines in enumerate(parts))
    return Source(_described(tree, config), FER_EXPRESSIONS, units, every_domain=not config.allow_missing)


def _read_folders(tree: Tree, config: Fer2013Config, shard_rows: int) -> Source | None:
    layout = read_class_folders(tree, _SPLITS, FER_EXPRESSIONS, "FER2013", why_not=_augmented)
    if layout is None:
        return None
    every = not config.allow_missing
    if every:
        layout.require_domains(tree.where)
    return layout.source(_described(tree, config), config.limits, every_domain=every, shard_rows=shard_rows)


def find_table(tree: Tree) -> tuple[File, str] | None:
    """The table of images in a folder, or the given file itself, and how messages name it."""
    if tree.alone is not None:
        return (tree.alone, tree.where) if tree.root.partition("?")[0].lower().endswith(".csv") else None
    found = ((tree.find(name), f"{tree.where}/{name}") for name in TABLES)
    return next(((file, where) for file, where in found if file is not None), None)


def _augmented(listed: Listed) -> str | None:
    """One copy that goes round has turned and mirrored images of ``disgust`` added, named ``x.jpg_1.jpg``."""
    return "an augmented copy" if listed.name.lower().count(".jpg") > 1 else None
