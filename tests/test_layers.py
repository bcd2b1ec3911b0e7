"""The rooms of the package and the doors to the outside, pinned by walking the imports; nothing unsafe is loaded.

pytest tests/test_layers.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "stargan_ray"
# Room -> rooms it may import, besides itself and errors. A room is a folder or a module of the package.
ROOMS = {
    "errors": set(),
    "schedules": set(),
    "losses": set(),
    "metric_losses": set(),
    "models": set(),
    "methods": {"models", "losses", "metric_losses", "schedules"},
    "data": set(),
    "config": {"methods", "data", "schedules"},
    "recipes": {"config", "methods", "data", "schedules"},
    "training": {"methods", "config", "data"},
    "evaluation": {"models", "methods", "data"},
    "runtime": {"config", "recipes", "data", "evaluation", "methods", "models", "training", "losses", "schedules"},
}
# Room -> what it may import from outside of the standard library; a room that is absent may import anything.
OUTSIDE = {
    "errors": set(),
    "schedules": set(),
    "losses": {"torch"},
    "metric_losses": {"torch", "pytorch_metric_learning"},
    "models": {"torch", "torchvision", "timm"},
    "methods": {"torch"},
    "config": set(),
    "recipes": set(),
    "training": {"torch", "numpy", "safetensors"},
}
RAY = {
    "data/pipeline.py",
    "runtime/cluster.py",
    "runtime/launch.py",
    "runtime/ray_trainer.py",
    "runtime/ray_worker.py",
    "runtime/records.py",
    "runtime/restarts.py",
    "runtime/ingest.py",
    "runtime/block_pool.py",
    "runtime/inspect.py",
    "runtime/room.py",
    "runtime/demo.py",  # the version, for the report
    "runtime/gauges.py",
    "runtime/search.py",
    "runtime/search_room.py",
    "runtime/search_scheduler.py",
    "runtime/search_trial.py",
    "runtime/search_watch.py",
    "runtime/searcher.py",
    "runtime/troubles.py",
}
MLFLOW = {
    "runtime/lookup.py",
    "runtime/mlflow_store.py",
    "runtime/evaluation_record.py",
    "runtime/pyfunc_model.py",
    "runtime/registry.py",
    "runtime/tracking.py",
}


@cache
def files() -> tuple[Path, ...]:
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, also within functions; ``from a import b`` counts as a.b too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_is_in_a_room() -> None:
    assert {room_of(path) for path in files()} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below(room: str) -> None:
    allowed = ROOMS[room] | {room, "errors"}
    for path in files():
        if room_of(path) != room:
            continue
        for module in modules(path):
            parts = module.split(".")
            if parts[0] == "stargan_ray" and len(parts) > 1 and parts[1] in ROOMS:
                assert parts[1] in allowed, f"{name_of(path)} imports {module}"


def test_the_rooms_have_no_circle() -> None:
    below: dict[str, set[str]] = {}
    while len(below) < len(ROOMS):
        ready = {room for room, allowed in ROOMS.items() if room not in below and allowed <= below.keys()}
        assert ready, f"a circle among {set(ROOMS) - set(below)}"
        below |= {room: ROOMS[room] for room in ready}


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_uses_only_its_libraries(room: str) -> None:
    for path in files():
        if room_of(path) != room:
            continue
        used = {module.split(".")[0] for module in modules(path)} - sys.stdlib_module_names - {"stargan_ray"}
        assert used <= OUTSIDE[room], f"{name_of(path)} imports {sorted(used - OUTSIDE[room])}"


@pytest.mark.parametrize(("library", "doors"), [("ray", RAY), ("mlflow", MLFLOW)])
def test_an_outside_world_has_its_doors(library: str, doors: set[str]) -> None:
    through = {name_of(path) for path in files() if library in {m.split(".")[0] for m in modules(path)}}
    assert through <= doors, f"{library} is imported by {sorted(through - doors)}"
    assert through


def test_only_evaluation_reads_the_truth() -> None:
    """Training code cannot learn from what only its judge may know."""
    for path in files():
        if room_of(path) in ("evaluation", "runtime"):
            continue
        assert not any(m.startswith("stargan_ray.evaluation") for m in modules(path)), name_of(path)
    readers = {name_of(path) for path in files() if "stargan_ray.evaluation.truth" in set(modules(path))}
    assert readers
    assert all(name.startswith("evaluation/") for name in readers), readers
    core = {"training", "methods", "models", "losses", "config", "recipes", "schedules"}
    for path in files():
        if room_of(path) in core:
            texts = [n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            assert not any(text == "truth" or "truth/" in text for text in texts), name_of(path)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            yield ast.unparse(node.func), node


def test_nothing_unsafe_is_loaded() -> None:
    """No pickle from a file, no torch.load that may run code, no eval: a model of a stranger can be looked at."""
    for path in (*files(), *sorted((ROOT / "jobs").glob("*.py"))):
        for name, call in calls(path):
            where = f"{path.relative_to(ROOT)}:{call.lineno}: {name}"
            assert name not in ("eval", "exec", "pickle.load", "torch.jit.load", "np.load", "joblib.load"), where
            if name == "torch.load":
                safe = [k.value for k in call.keywords if k.arg == "weights_only"]
                assert safe, where
                assert isinstance(safe[0], ast.Constant), where
                assert safe[0].value is True, where
    assert not [name_of(path) for path in files() if "pickle" in set(modules(path))]


_QUIET = """
import importlib, os, sys
before = sorted(os.listdir("."))
for name in sys.argv[1:]:
    importlib.import_module("stargan_ray." + name)
loaded = {m.split(".")[0] for m in sys.modules}
print(sorted(loaded & {"ray", "mlflow", "moto", "boto3"}), sorted(os.listdir(".")) == before)
"""


def test_importing_connects_to_nothing(tmp_path: Path) -> None:
    """Neither Ray nor MLflow is loaded, and no file appears, by importing what a laptop without them needs."""
    names = [
        "recipes",
        "training.loop",
        "training.checkpoint",
        "data.pipeline",
        "data.faces",
        "runtime.session",
        "runtime.launch",
        "runtime.tracking",
        "runtime.registry",
        "runtime.models",
        "runtime.translate",
        "runtime.inspect",
    ]
    done = subprocess.run(
        [sys.executable, "-c", _QUIET, *names], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[] True\n", done.stdout + done.stderr


def test_no_module_does_work_on_import() -> None:
    """Top-level statements define and import; nothing is started, seeded, configured or written."""
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    for path in files():
        for node in tree(path).body:
            documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guards = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            registers = name_of(path) == "runtime/pyfunc_model.py"  # a model from code names itself to MLflow
            assert isinstance(node, allowed) or documents or guards or registers, f"{name_of(path)}:{node.lineno}"


def test_no_job_hides_a_module_of_python() -> None:
    """Python looks beside the job first: with a jobs/inspect.py no job could import dataclasses."""
    assert not {path.stem for path in (ROOT / "jobs").glob("*.py")} & sys.stdlib_module_names
