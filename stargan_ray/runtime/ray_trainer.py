"""Ray's trainer without the helpers that a run of ours has no use for: each is a process of some 100 MiB.

Ray Train gives every run a manager of its data sets, though none is handed over (workers read by themselves, see
``data/pipeline.py``), and one that frees what a killed driver has reserved, though a Ray that was started by the driver
ends with it. To start both takes five to six seconds of a core.
"""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer

_OF_DATA_SETS = "DatasetsCallback"
_OF_KILLED_DRIVERS = "PlacementGroupCleanerCallback"


class LeanTorchTrainer(TorchTrainer):  # type: ignore[misc]  # Ray says nothing of its types
    """A ``TorchTrainer`` without ``datasets``.

    Args:
        ends_with_driver: whether the cluster was started by this process; a killed trial of a search is no driver.
        options: those of ``TorchTrainer``.
    """

    def __init__(self, *, ends_with_driver: bool, **options: Any) -> None:
        super().__init__(**options)
        assert not self.datasets
        self._idle = {_OF_DATA_SETS, _OF_KILLED_DRIVERS} if ends_with_driver else {_OF_DATA_SETS}

    def _create_default_callbacks(self) -> list[Any]:
        """Ray's own hook, so private: where another release has none of that name, all helpers are there again."""
        return [each for each in super()._create_default_callbacks() if type(each).__name__ not in self._idle]
