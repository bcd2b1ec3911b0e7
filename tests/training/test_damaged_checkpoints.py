"""A checkpoint that is not what was written is passed over for the one before it, on a disk and on S3.

pytest tests/training/test_damaged_checkpoints.py
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import re
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from small import state_of, with_train

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.step import State

FILE = "generator.safetensors"


def filled(step: int, state: State | None = None) -> State:
    """A state in which every weight is the step."""
    state = state or state_of()
    state.step = step
    with torch.no_grad():
        for network in (*state.networks.values(), *state.averaged.values()):
            for parameter in network.parameters():
                parameter.fill_(step)
    return state


def step_of(kept: Checkpoints) -> int:
    """The step of what is restored; every weight is of it."""
    state = state_of(with_train(seed=5))
    assert kept.load_latest(state)
    for network in (*state.networks.values(), *state.averaged.values()):
        for parameter in network.parameters():
            assert (parameter == state.step).all()
    return state.step


@pytest.fixture(params=["disk", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    """Three checkpoints, of which the last two are there."""
    root = str(tmp_path) if request.param == "disk" else request.getfixturevalue("s3")
    found = Checkpoints(storage.join(root, "run", "checkpoints"))
    state = state_of()
    for step in (1, 2, 3):
        found.save(filled(step, state), {})
    return found


def _edit(change: Callable[[bytes], bytes], name: str = FILE) -> Callable[[str], None]:
    def edit(folder: str) -> None:
        uri = storage.join(folder, name)
        storage.write_bytes(uri, change(storage.read_bytes(uri)))

    return edit


def _flip(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


DAMAGES: dict[str, tuple[Callable[[str], None], str]] = {
    "truncated": (_edit(lambda data: data[:-100]), rf"{FILE} has \d+ of \d+ bytes"),
    "empty": (_edit(lambda data: b""), rf"{FILE} has 0 of \d+ bytes"),
    "missing": (lambda folder: storage.delete(storage.join(folder, FILE)), f"{FILE} is missing"),
    "one bit": (_edit(_flip), f"{FILE} has other content than was written"),
    "meta.json truncated": (_edit(lambda data: data[:-100], "meta.json"), r"meta\.json: not readable as JSON"),
    "meta.json empty": (_edit(lambda data: b"", "meta.json"), r"meta\.json: not readable as JSON"),
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_one_before_a_damaged_checkpoint_is_loaded(
    damage: str, kept: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, reason = DAMAGES[damage]
    newest = storage.join(kept.uri, "step-00000003")
    spoil(newest)
    assert step_of(kept) == 2
    (said,) = warnings(caplog)
    assert said.startswith(f"{newest} is damaged and passed over: ")
    assert re.search(reason, said), said
    assert reason.split()[0].replace("\\", "") in storage.read_bytes(storage.join(newest, "damaged.txt")).decode()
    assert kept.names() == ["step-00000002"]
    assert step_of(kept) == 2
    assert len(warnings(caplog)) == 1  # it is known by now
    kept.save(filled(3), {})  # training has come there again
    assert kept.names() == ["step-00000002", "step-00000003"]
    assert step_of(kept) == 3


def test_when_none_is_whole_nothing_starts_anew(kept: Checkpoints) -> None:
    for name in kept.names():
        _edit(_flip)(storage.join(kept.uri, name))
    for _ in range(2):  # found now, and known from before
        with pytest.raises(InputError, match=r"no checkpoint is whole, step-00000002, step-00000003 are damaged") as it:
            kept.load_latest(state_of())
        assert "delete the folder to start anew, or give another --name" in str(it.value)


def test_a_checkpoint_older_than_the_check_is_loaded(kept: Checkpoints) -> None:
    def without(data: bytes) -> bytes:
        lines = data.decode()
        return (lines[: lines.index(',\n "files"')] + "\n}").encode()

    _edit(without, "meta.json")(storage.join(kept.uri, "step-00000003"))
    assert step_of(kept) == 3


def _save_on(uri: str) -> None:
    torch.set_num_threads(1)
    state = state_of()
    for step in count(1):
        Checkpoints(uri).save(filled(step, state), {})


def test_killed_while_it_writes_the_last_complete_one_is_loaded(tmp_path: Path) -> None:
    """At ten moments of writing, deleting or between."""
    context, generator, half = multiprocessing.get_context("fork"), random.Random(0), 0
    for number in range(10):
        folder = tmp_path / str(number)
        kept = Checkpoints(str(folder))
        process = context.Process(target=_save_on, args=(kept.uri,))
        process.start()
        while not (folder / "step-00000002" / "meta.json").exists():
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.2))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        written = max(int(path.name.removeprefix("step-")) for path in folder.iterdir())
        loaded = step_of(kept)
        assert loaded in (written, written - 1)  # at most the one that was being written is lost
        half += loaded < written
    assert half  # the end came in the middle of a checkpoint at least once
