"""The truth is read back as written, and nothing that trains can reach it.

Run: python -m pytest tests/evaluation/test_truth.py
"""

import ast
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import stargan_ray
from stargan_ray.data.schema import TRUTH_SCHEMA, Truth
from stargan_ray.errors import InputError
from stargan_ray.evaluation.truth import read_truth

PACKAGE = Path(stargan_ray.__file__).parent
READER = "stargan_ray.evaluation.truth"


def _row(number):
    return Truth(f"faces-{number}", f"p{number % 3}", number % 8, 0.5, number % 2 == 0)


def _write(folder, name, rows):
    (folder / "truth").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows], TRUTH_SCHEMA), folder / "truth" / name)


def test_all_files_come_back_by_key(tmp_path):
    rows = [_row(number) for number in range(10)]
    _write(tmp_path, "00000.parquet", rows[:6])
    _write(tmp_path, "00001.parquet", rows[6:])
    assert read_truth(str(tmp_path)) == {row.key: row for row in rows}


def test_generated_faces_carry_their_truth(tmp_path):
    from stargan_ray.data.faces import FacesConfig, generate

    written = [truth for _, truth in generate(FacesConfig(people=4, size=32), 0, 6)]
    _write(tmp_path, "00000.parquet", written)
    found = read_truth(str(tmp_path))
    for truth in written:
        assert found[truth.key].expression == truth.expression
        assert found[truth.key].corrupted == truth.corrupted
        assert found[truth.key].intensity == pytest.approx(truth.intensity)


def test_a_set_without_truth_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="has no truth: only generated faces have one") as error:
        read_truth(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_key_twice_and_foreign_columns_are_refused(tmp_path):
    _write(tmp_path, "00000.parquet", [_row(1), _row(1)])
    with pytest.raises(InputError, match="'faces-1' comes twice"):
        read_truth(str(tmp_path))
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "truth" / "00000.parquet")
    with pytest.raises(InputError, match="not a table of the truth"):
        read_truth(str(tmp_path))
    (tmp_path / "truth" / "00000.parquet").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="not a table of the truth") as error:
        read_truth(str(tmp_path))
    assert "\n" not in str(error.value)


# -- who may know -------------------------------------------------------------------------------------------


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(path):
    """Every dotted name that a module imports anywhere in it, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides from this test"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _reached(names, graph):
    """All modules of the package that these load, directly or through others."""
    seen, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name in seen or name not in graph:
            continue
        seen.add(name)
        todo += graph[name]
    return seen


def test_nothing_that_trains_reaches_the_reader():
    graph = {name: set(_imports(path)) for name, path in _modules()}
    rooms = tuple(f"stargan_ray.{room}" for room in ("training", "methods", "models", "data", "runtime.launch"))
    training = [name for name in graph if name.startswith(rooms)]
    assert len(training) > 10
    assert READER in graph
    assert READER not in _reached(training, graph)


def test_only_the_evaluation_mentions_the_reader_and_only_the_writer_the_schema():
    for name, path in _modules():
        text = path.read_text()
        if not name.startswith("stargan_ray.evaluation"):
            assert "read_truth" not in text, f"{name} must not know the truth reader"
            assert READER not in set(_imports(path)), f"{name} must not import the truth reader"
        if "TRUTH_SCHEMA" in text:
            assert name in {"stargan_ray.data.schema", "stargan_ray.data.units", READER}, name


def test_the_walk_finds_an_import_through_another_module(tmp_path):
    hidden = tmp_path / "hidden.py"
    hidden.write_text("def f():\n    from stargan_ray.evaluation import truth\n")
    graph = {"a": {"b"}, "b": set(_imports(hidden)), READER: set()}
    assert READER in _reached(["a"], graph)
