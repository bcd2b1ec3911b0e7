"""Reader of AffectNet: the official lists, the newer release, and the copies as folders of expressions.

- ``Manually_Annotated_file_lists/{training,validation}.csv`` with the images beside them
- ``{train,val}_set/{images,annotations}``
- ``{train,val,test}/<expression>/*`` or ``<expression>/*``, where an expression is a name or a digit 0 to 7 in
  the official order; a ``labels.csv`` beside them is compared with the folders, which are right where they differ
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stargan_ray.data.readers.affectnet_lists import read_lists
from stargan_ray.data.readers.affectnet_release import release_units
from stargan_ray.data.readers.expression_folders import read_class_folders, read_classes
from stargan_ray.data.readers.files import Layout, Limits
from stargan_ray.data.readers.names import SPLIT_FOLDERS, expression_of
from stargan_ray.data.readers.tables import read_table
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.trees import Tree, locate, open_tree
from stargan_ray.data.units import SHARD_ROWS, Source

_LABELS = "labels.csv"


@dataclass(frozen=True)
class AffectnetConfig:
    """Which copy of AffectNet, and what to accept of it.

    Attributes:
        path: the folder with the layout; a path or a URI.
        crop: of the official lists, take only the box around the face.
        limits: what is refused.
        allow_missing: accept an expression without images in train or in val.
    """

    path: str
    crop: bool = False
    limits: Limits = field(default_factory=Limits)
    allow_missing: bool = False


def read_affectnet(config: AffectnetConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """AffectNet as a source.

    Args:
        config: Which copy.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If nothing is there, the layout is another one, a column or an expression is missing, or a
            folder is no expression.
    """
    tree = open_tree(config.path, "the folder of AffectNet")
    layouts: dict[str, Callable[[Tree], Source | None]] = {
        "Manually_Annotated_file_lists/{training,validation}.csv": lambda here: _lists(here, config, shard_rows),
        "{train,val}_set/{images,annotations}": lambda here: _release(here, config, shard_rows),
        "[{train,val,test}/]<expression or 0..7>/*": lambda here: _folders(here, config, shard_rows),
    }
    return locate(tree, "AffectNet", layouts)


def _described(tree: Tree, config: AffectnetConfig) -> dict[str, object]:
    return {"reader": "affectnet", "path": tree.root, "crop": config.crop, "allow_missing": config.allow_missing}


def _source(layout: Layout, tree: Tree, config: AffectnetConfig, shard_rows: int, **told: object) -> Source:
    every = not config.allow_missing
    if every:
        layout.require_domains(tree.where)
    described = {**_described(tree, config), **told}
    return layout.source(described, config.limits, every_domain=every, shard_rows=shard_rows)


def _lists(tree: Tree, config: AffectnetConfig, shard_rows: int) -> Source | None:
    layout = read_lists(tree, config.crop)
    return None if layout is None else _source(layout, tree, config, shard_rows)


def _release(tree: Tree, config: AffectnetConfig, shard_rows: int) -> Source | None:
    found = release_units(tree, config.limits, shard_rows)
    if found is None:
        return None
    units, layout = found
    return Source(
        {**_described(tree, config), **config.limits.told()},
        EXPRESSIONS,
        units,
        skipped=tuple(layout.skipped),
        notes=tuple(layout.notes),
        every_domain=not config.allow_missing,
    )


def _folders(tree: Tree, config: AffectnetConfig, shard_rows: int) -> Source | None:
    layout = read_class_folders(tree, SPLIT_FOLDERS, EXPRESSIONS, "AffectNet", name_of=_expression)
    if layout is None:
        named = [listed for listed in tree.list() if listed.folder and _expression(listed.name)]
        if len(named) < 2:
            return None
        layout = Layout(domains=set(EXPRESSIONS))
        layout.notes.append("no train/ and val/: the split of an image is by the hash of its path")
        read_classes(layout, tree, (), None, "AffectNet", name_of=_expression)
    return _source(layout, tree, config, shard_rows, labels_disagree=_compare(layout, tree))


def _expression(folder: str) -> str | None:
    """What a folder stands for: a name in any spelling, or a digit in the official order, which is the project's."""
    name = folder.strip()
    return EXPRESSIONS[int(name)] if name in map(str, range(len(EXPRESSIONS))) else expression_of(name)


def _compare(layout: Layout, tree: Tree) -> int:
    """How many images labels.csv gives another expression than their folder does; the folder is taken."""
    table = tree.find(_LABELS)
    if table is None:
        return 0
    layout.skipped = [each for each in layout.skipped if each.path != _LABELS]
    where = f"{tree.where}/{_LABELS}"
    # Of a path only folder and name count: the copies name it with and without what lies above.
    labels = {_last_two(row["pth"]): row["label"] for _, row in read_table(table, ("pth", "label"), where)}
    told = [labels.pop(_last_two(entry.key), None) for entry in layout.entries]
    pairs = zip(told, layout.entries, strict=True)
    differ = sum(1 for label, entry in pairs if label is not None and _expression(label) != entry.domain)
    layout.notes.append(f"{_LABELS} disagrees with the folder of {differ} of {len(told)} images: the folder is taken")
    if labels:
        layout.notes.append(f"{_LABELS} names {len(labels)} images that are not there, or not images")
    return differ


def _last_two(path: str) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-2:])
