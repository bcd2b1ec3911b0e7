"""What went wrong in a training, in a line: from Ray Train's workers to the records, from an exception to a person."""

from __future__ import annotations

from typing import Any

_LONGEST = 240  # characters


def in_a_line(error: BaseException) -> str:
    """An exception's kind and the last line of what it says: Ray puts tracebacks of other processes before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    said = lines[-1] if lines else ""
    told = said if said.startswith(kind) else f"{kind}: {said}" if said else kind
    return told if len(told) <= _LONGEST else told[:_LONGEST] + "…"


def telling(records: Any) -> Any:
    """A callback of Ray Train that tells the records' actor what its workers raise, also when they start again."""
    from ray.train import UserCallback

    class Telling(UserCallback):  # type: ignore[misc]
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ARG002
            for rank, error in sorted(worker_exceptions.items()):
                records.trouble.remote(f"worker {rank}: {in_a_line(error)}")

    return Telling()
