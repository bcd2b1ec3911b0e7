"""AffectNet's official lists: a CSV for train and one for val, with a code and a box around the face a line."""

from __future__ import annotations

from pathlib import PurePosixPath

from stargan_ray.data.readers.files import Layout
from stargan_ray.data.readers.tables import read_table
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import Tree
from stargan_ray.errors import InputError

# The codes that are no expression; 0 to 7 are the project's expressions in its own order.
_OTHER_CODES = {8: "no expression (none)", 9: "no expression (uncertain)", 10: "no face"}
_TABLES = {"train": "training.csv", "val": "validation.csv"}
_LISTS = ("Manually_Annotated_file_lists",)
_IMAGES = (("Manually_Annotated", "Manually_Annotated_Images"), ("Manually_Annotated_Images",), ("Manually_Annotated",))
_BOX = ("face_x", "face_y", "face_width", "face_height")
# The validation list goes round without its header too.
_PUBLISHED = ("subDirectory_filePath", *_BOX, "facial_landmarks", "expression", "valence", "arousal")


def expression_or_reason(code: str) -> tuple[str | None, str]:
    """The expression that a code stands for, or None and why there is none."""
    try:
        number = int(float(code))
    except (ValueError, OverflowError):
        return None, "label out of range"
    if number == float(code) and 0 <= number < len(EXPRESSIONS):
        return EXPRESSIONS[number], ""
    return None, _OTHER_CODES.get(number, "label out of range")


def read_lists(tree: Tree, crop: bool) -> Layout | None:
    """The images that the lists name, or None where there are no such lists.

    Args:
        tree: The folder with Manually_Annotated_file_lists and Manually_Annotated.
        crop: Take only the box around the face.

    Raises:
        InputError: If only one of the two lists, or no folder of images is there, or a column is missing.
    """
    found = {
        split: next((f for at in (_LISTS, ()) if (f := tree.find(*at, name)) is not None), None)
        for split, name in _TABLES.items()
    }
    if not any(found.values()):
        return None
    images = next((folder for folder in _IMAGES if any(each.folder for each in tree.list(*folder))), None)
    if images is None:
        raise InputError(f"{tree.where} has lists but no images: expected {'/'.join(_IMAGES[0])}/<folder>/*.jpg")
    layout = Layout(domains=set(EXPRESSIONS))
    listed: dict[str, dict[str, Listed]] = {}
    seen: set[str] = set()
    for split, table in found.items():
        if table is None:
            raise InputError(f"{tree.where} has no {_TABLES[split]}: both lists are needed")
        wanted = ("subDirectory_filePath", "expression", *(_BOX if crop else ()))
        for number, row in read_table(table, wanted, f"{tree.where}: {_TABLES[split]}", _PUBLISHED):
            path = row["subDirectory_filePath"].replace("\\", "/")
            if not path:
                layout.skip(f"{_TABLES[split]}: line {number}", "no path")
            elif path in seen:
                layout.skip(path, "listed twice")
            else:
                seen.add(path)
                _add(layout, tree.below(*images), path, row, split, listed)
    return layout


def _add(
    layout: Layout, images: Tree, path: str, row: dict[str, str], split: str, listed: dict[str, dict[str, Listed]]
) -> None:
    """One line; ``listed`` keeps what is in each folder, since a request for each file would be slow."""
    expression, reason = expression_or_reason(row["expression"])
    if expression is None:
        layout.skip(path, reason)
        return
    parts = PurePosixPath(path).parts
    if ".." in parts or path.startswith("/"):
        layout.skip(path, "path leads out of the images")
        return
    box = _box(row) if "face_x" in row else None
    if "face_x" in row and box is None:
        layout.skip(path, "no face box")
        return
    folder = "/".join(parts[:-1])
    if folder not in listed:
        listed[folder] = {each.name: each for each in images.list(*parts[:-1])}
    image = listed[folder].get(parts[-1])
    if image is None:
        layout.skip(path, "missing")
        return
    layout.take(images, parts[:-1], image, split=split, domain=expression, key=path, box=box)


def _box(row: dict[str, str]) -> tuple[int, int, int, int] | None:
    """The box, or None where the list holds NULL or a box without an area."""
    try:
        left, top, width, height = (int(float(row[name])) for name in _BOX)
    except (ValueError, OverflowError):
        return None
    return (left, top, width, height) if width > 0 and height > 0 else None
