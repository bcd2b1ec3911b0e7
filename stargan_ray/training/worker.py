"""What the loop knows of the process it runs in: a small context with two implementations.

``LocalWorker`` is one process alone. ``GroupWorker`` is one rank of an initialised ``torch.distributed`` group,
whoever started it (Ray Train, torchrun, a test).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from stargan_ray.training.agreement import Agreement
from stargan_ray.training.buckets import settled
from stargan_ray.training.presence import LostWorkerError, Presence


class Worker(Protocol):
    """One training process."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        ...

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over the workers in its backward pass."""
        ...

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the workers; every worker must call it."""
        ...

    def gather(self, value: Tensor) -> Tensor:
        """The tensors (b, …) of all workers one after the other; gradients reach each worker's own.

        A loss that every worker computes of what was gathered has the gradient that one process would have, once
        ``wrap`` has averaged it over the workers.
        """
        ...

    def told(self, text: str) -> str:
        """What rank 0 gives, on every worker; every worker must call it."""
        ...

    def together(self, asked: Callable[[], str]) -> AbstractContextManager[None]:
        """Within it workers know of one another.

        A worker that does not come to a collective is named by the error of those that wait for it, and all stop after
        the same step when one of them is asked to.

        Args:
            asked: why this worker should stop, empty while it should not; called now and then, maybe in a thread.
        """
        ...

    def stops(self, step: int) -> str:
        """Why all workers stop now that so many steps are done, empty while they go on; every worker must call it."""
        ...

    def at(self, step: int, doing: str = "training") -> None:
        """Note for the others where this worker is; costs nothing."""
        ...


class LocalWorker:
    """One process alone."""

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._asked: Callable[[], str] = str

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as it is."""
        return network

    def mean(self, value: Tensor) -> Tensor:
        """The value as it is."""
        return value

    def gather(self, value: Tensor) -> Tensor:
        """The value as it is."""
        return value

    def told(self, text: str) -> str:
        """The text as it is."""
        return text

    @contextlib.contextmanager
    def together(self, asked: Callable[[], str]) -> Iterator[None]:
        """There is nobody to wait for."""
        self._asked = asked
        yield

    def stops(self, step: int) -> str:  # noqa: ARG002 - the shape of a worker
        """Why this worker was asked to."""
        return self._asked()

    def at(self, step: int, doing: str = "training") -> None:
        """There is nobody to tell."""


class GroupWorker:
    """One rank of the default process group.

    Args:
        device: where it computes.
        timeout_s: that the group was made with.
        gradients: what they travel in. ``bf16``: every worker's are rounded to 8 significant bits, and so is every
            partial sum on its way round the workers; all of them receive the same bits.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        timeout_s: float = 600.0,
        gradients: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.device = torch.device(device)
        self.gradients = gradients
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.timeout_s = timeout_s
        self._presence: Presence | None = None
        self._agreement: Agreement | None = None

    def wrap(self, network: nn.Module) -> nn.Module:
        """DistributedDataParallel; buffers are not broadcast, since a network runs several times a step.

        A worker that is alone has nobody to share gradients with, unless they are to be rounded as if it had.
        """
        if self.world_size == 1 and self.gradients == "fp32":
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():  # broadcast_buffers has another name in the newest torch only
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                network, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        if self.gradients == "bf16":
            wrapped.register_comm_hook(None, bf16_compress_hook)
        return settled(wrapped)

    def mean(self, value: Tensor) -> Tensor:
        """All-reduced mean."""
        value = value.clone()
        dist.all_reduce(value)
        return value / self.world_size

    def gather(self, value: Tensor) -> Tensor:
        """All-gathered along the first dimension, in the order of ranks; backwards the gradients of all are summed."""
        if not value.requires_grad:  # labels and noise
            parts = [torch.empty_like(value) for _ in range(self.world_size)]
            dist.all_gather(parts, value.contiguous())
            return torch.cat(parts)
        return torch.cat(all_gather(value.contiguous()))

    def told(self, text: str) -> str:
        """Broadcast from rank 0."""
        texts = [text]
        dist.broadcast_object_list(texts, src=0, device=self.device)
        return texts[0]

    @contextlib.contextmanager
    def together(self, asked: Callable[[], str]) -> Iterator[None]:
        """See ``Worker``; ``asked`` is called by a thread.

        Raises:
            LostWorkerError: a collective failed.
        """
        presence = self._presence = Presence(self.rank, self.world_size, self.timeout_s)
        self._agreement = Agreement(presence, asked)
        presence.on_beat = self._agreement.beat
        presence.begin()
        try:
            yield
            dist.barrier()  # what was being agreed on is settled
            presence.leave()
            dist.barrier()  # rank 0 keeps the signs: nobody looks for them any more
        except BaseException as error:
            if _of_a_collective(error):
                raise LostWorkerError(presence.explain()) from error
            presence.leave(str(error) or type(error).__name__)
            raise
        finally:
            presence.leave()
            self._presence = None

    def stops(self, step: int) -> str:
        """See ``Worker``; costs nothing but where a stop is being agreed on."""
        assert self._agreement, "outside of together()"
        return self._agreement.reached(step)

    def at(self, step: int, doing: str = "training") -> None:
        """See ``Worker``."""
        if self._presence:
            self._presence.at(step, doing)


def _of_a_collective(error: BaseException) -> bool:
    """Whether this is what a collective raises: gloo has no class of its own for it."""
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo" in str(error))


@contextlib.contextmanager
def without_sync(networks: list[Any]) -> Iterator[None]:
    """Keep gradients local: for all but the last part of an accumulated batch."""
    with contextlib.ExitStack() as stack:
        for network in networks:
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        yield
