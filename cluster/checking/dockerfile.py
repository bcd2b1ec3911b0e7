"""Rules for the image: fixed bases, nobody's root, the pinned packages, nothing of the folder that it does not need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from checking.faults import Fault


def dockerfile_faults(file: Path, shown: str) -> Iterator[Fault]:
    """What is wrong with a Dockerfile and with the .dockerignore of the folder that it is built in.

    Args:
        file: the Dockerfile; the folder above its own is what is built.
        shown: how faults name it.
    """
    steps = list(_steps(file.read_text(encoding="utf-8")))
    for number, (line, words) in enumerate(steps):
        if words[0] == "FROM":
            tag = words[1].rpartition("/")[2].partition(":")[2]
            if not tag or tag == "latest":
                yield Fault(shown, f"line {line}", f"FROM {words[1]} has no fixed version")
            yield from _stage(shown, line, steps[number + 1 :])
        if words[0] == "ADD":
            yield Fault(shown, f"line {line}", "ADD: allowed is COPY, of what the folder has")
        if words[0] == "COPY" and words[1] in (".", "./"):
            yield Fault(shown, f"line {line}", "COPY of the whole folder: allowed are the names that the image needs")
        text = " ".join(words)
        if words[0] == "RUN" and re.search(r"\bpip install\b", text):
            for installed in re.split(r"&&|;", text):
                if "pip install" in installed and "-c " not in installed and not _fixed(installed):
                    yield Fault(shown, f"line {line}", f"{installed.strip()}: allowed is -c constraints.txt, or ==")
    ignore = file.parent.parent / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    if "*" not in lines:
        yield Fault(".dockerignore", "*", "is not there: data, runs and keys would travel to the builder")


def _stage(shown: str, line: int, rest: list[tuple[int, list[str]]]) -> Iterator[Fault]:
    """What the image of a stage ends as; ``line`` is its FROM."""
    own = []
    for step in rest:
        if step[1][0] == "FROM":
            break
        own.append(step)
    users = [words[1] for _, words in own if words[0] == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*(:\d+)?", users[-1]):
        said = users[-1] if users else "root"
        yield Fault(shown, f"line {line}", f"USER {said}: allowed is a number above 0, which Kubernetes can check")
    if not any(words[0] == "ENV" and any(word.startswith("HOME=") for word in words) for _, words in own):
        yield Fault(shown, f"line {line}", "ENV HOME is not there: `ray up` reads it and takes /root without it")


def _fixed(installed: str) -> bool:
    names = [word for word in installed.split("pip install")[1].split() if not word.startswith("-")]
    return bool(names) and all("==" in name or name == "." for name in names)


def _steps(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each instruction with the line that it starts on; comments and continued lines as Docker reads them."""
    start, step = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not step:
            start = number
        step += " " + line.removesuffix("\\").strip()
        if not line.endswith("\\"):
            words = step.split()
            yield start, [words[0].upper(), *words[1:]]
            step = ""
