"""Folders named after expressions, with or without train, val and test above them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from stargan_ray.data.locations import shown
from stargan_ray.data.readers.files import Layout, split_by_hash
from stargan_ray.data.readers.names import expression_of
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import Tree, hidden
from stargan_ray.errors import InputError, unknown


def read_class_folders(
    tree: Tree,
    splits: Mapping[str, str],
    expressions: Collection[str],
    data_set: str,
    *,
    why_not: Callable[[Listed], str | None] = lambda _: None,
    name_of: Callable[[str], str | None] = expression_of,
) -> Layout | None:
    """The images in ``<split>/<expression>/*``, or None where there is no folder of a split.

    Args:
        tree: The folder with the splits.
        splits: Lower-case folder name -> split.
        expressions: Names that the data set has.
        data_set: Its name, for the error.
        why_not: Why a file is left out, or None.
        name_of: The expression that a folder's name stands for, or None.

    Raises:
        InputError: If a folder below a split is no expression of the data set.
    """
    tops = {listed.name: splits.get(listed.name.lower()) for listed in tree.list() if listed.folder}
    if not any(tops.values()):
        return None
    layout = Layout(domains=set(expressions))
    for listed in tree.list():
        split = tops.get(listed.name)
        if split is None:
            layout.skip(listed.name, "outside train, val and test")
        else:
            read_classes(layout, tree, (listed.name,), split, data_set, why_not=why_not, name_of=name_of)
    return layout


def read_classes(
    layout: Layout,
    tree: Tree,
    above: tuple[str, ...],
    split: str | None,
    data_set: str,
    *,
    why_not: Callable[[Listed], str | None] = lambda _: None,
    name_of: Callable[[str], str | None] = expression_of,
) -> None:
    """Take over the images in ``<expression>/*`` of the folder ``above``.

    Args:
        layout: Where they go; its domains are the names that are allowed.
        tree: The data set.
        above: Folder of the expressions' folders.
        split: Of the images; None is one for each by the hash of its key.
        data_set: Its name, for the error.
        why_not: Why a file is left out, or None.
        name_of: The expression that a folder's name stands for, or None.

    Raises:
        InputError: If a folder is no expression of the data set.
    """
    for domain in tree.list(*above):
        path = "/".join((*above, domain.name))
        if hidden(domain.name) or not domain.folder:
            layout.skip(path, "outside an expression's folder")
            continue
        expression = name_of(domain.name)
        if expression not in layout.domains:
            raise _no_expression(tree, path, domain.name, layout.domains, data_set)
        for listed in tree.list(*above, domain.name):
            key = f"{path}/{listed.name}"
            reason = why_not(listed)
            if reason is not None:
                layout.skip(key, reason)
            else:
                into = split or split_by_hash(shown(key))
                layout.take(tree, (*above, domain.name), listed, split=into, domain=expression)


def _no_expression(tree: Tree, path: str, name: str, allowed: Collection[str], data_set: str) -> InputError:
    told = unknown(f"expression of {data_set}", shown(name), allowed)
    return InputError(f"{tree.where}: folder {shown(path)}: {told}")
