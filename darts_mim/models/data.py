"""Training data in an order that a resumed run continues exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from darts_mim.nn.seeding import keyed_generator

_ORDER_OPTIONS = frozenset({"sampler", "batch_sampler", "generator"})


class _EpochOrder(DistributedSampler[int]):
    """The order of one process's samples in one epoch: a pure function of a key and the epoch.

    All processes share one order and take turns in it: process r of W has the positions r, r + W,
    r + 2W and so on, so that the W batches of a step together are the batch that one process has
    with batches W times as large. A process without a sample of its own in the last step has the
    last one of the order, which stands in for it. With ``drop_last`` the order ends early instead.

    Lightning leaves a ``DistributedSampler`` alone, and replaces any other in several processes.
    """

    def __init__(
        self, dataset: Dataset[Any], *, key: tuple[int, ...], batch_size: int, **kwargs: Any
    ) -> None:
        super().__init__(dataset, **kwargs)
        self.key, self.batch_size = key, batch_size
        self.first = 0
        n_samples = len(dataset)  # type: ignore[arg-type]
        end = self.total_size if self.drop_last else n_samples
        self.n_own = len(range(self.rank, end, self.num_replicas))
        self.stands_in = self.n_own < self.num_samples and self.n_own % batch_size == 0

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: Lightning calls this after the first iterator, which the loader sets up."""

    def __iter__(self) -> Iterator[int]:
        n_samples = len(self.dataset)  # type: ignore[arg-type]
        order: Sequence[int] = range(n_samples)
        if self.shuffle:
            generator = keyed_generator("order", *self.key, self.epoch)
            order = torch.randperm(n_samples, generator=generator, device="cpu").tolist()
        own = [order[self.rank + i * self.num_replicas] for i in range(self.n_own)]
        return iter([*own, order[-1]][self.first :] if self.stands_in else own[self.first :])


class ResumableDataLoader(DataLoader[Any]):
    """Data loader whose batches depend on a key and the epoch alone, and that resumes mid-epoch.

    Lightning keeps the state of a loader that has ``state_dict`` and ``load_state_dict`` in its
    checkpoints. Torch's own loader has neither, and draws each epoch's order from the global
    random state: a resumed run would then see other batches than an uninterrupted one.

    Parameters
    ----------
    dataset
        Data set with a length.
    key
        Key of the order besides the epoch, such as the seed of the run; the same in all
        processes.
    current_epoch
        Returns the number of the epoch that the next iterator is for. Lightning gives a loader
        its state back mid-epoch alone; at the start of an epoch only the trainer knows which.
    shuffle
        Whether each epoch has an order of its own.
    limit_batches
        Lightning's ``limit_train_batches``: batches in an epoch as a number or as a fraction.
    num_replicas
        Number of processes that train together.
    rank
        Number of this process, from 0.
    **kwargs
        Passed on to ``torch.utils.data.DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        key: tuple[int, ...],
        current_epoch: Callable[[], int],
        shuffle: bool = True,
        limit_batches: float = 1.0,
        num_replicas: int = 1,
        rank: int = 0,
        **kwargs: Any,
    ) -> None:
        self._order = _EpochOrder(
            dataset,
            key=key,
            shuffle=shuffle,
            num_replicas=num_replicas,
            rank=rank,
            drop_last=kwargs.get("drop_last", False),
            batch_size=kwargs.get("batch_size", 1),
        )
        self._current_epoch = current_epoch
        self._limit_batches = limit_batches
        self._served = 0
        self._resumed_at: tuple[int, int] | None = None
        # Lightning rebuilds the loader with a sampler of its own for `overfit_batches`
        super().__init__(dataset, **{"sampler": self._order, **kwargs})

    def __iter__(self) -> Any:
        """Return an iterator over the next epoch, or over the rest of the one resumed."""
        self._order.epoch, self._served = self._resumed_at or (self._next_epoch(), 0)
        self._order.first = self._served * cast(int, self.batch_size)
        return self._count(super().__iter__())

    def _next_epoch(self) -> int:
        """Return the epoch after the one that was served, at first the one the trainer names.

        Resumed at the end of an epoch, a trainer with ``max_steps`` asks for an iterator, takes
        nothing of it, and counts that as an epoch.
        """
        return self._order.epoch + 1 if self._served else self._current_epoch()

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._resumed_at = None  # not before: an iterator may be asked for and dropped
            self._served += 1
            yield batch

    def stands_in(self, batch_idx: int) -> bool:
        """Return whether a batch has none of this process's samples, and counts for nothing."""
        return self._order.stands_in and batch_idx == len(self) - 1

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches served so far."""
        return {"epoch": self._order.epoch, "served": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the last batch of a ``state_dict``, in the next epoch if it ended."""
        epoch, served = state["epoch"], state["served"]
        limit = self._limit_batches
        epoch_length = limit if isinstance(limit, int) else int(len(self) * limit)
        has_ended = served >= min(epoch_length, len(self))
        self._resumed_at = (epoch + 1, 0) if has_ended else (epoch, served)


class ResumableDataModule(TorchDataModule):
    """Darts' data module with a ``ResumableDataLoader`` for training.

    A custom ``sampler``, ``batch_sampler`` or ``generator`` in ``dataloader_kwargs`` keeps Darts'
    loader. Several processes share one order: each step they see together what one process sees
    with batches as large as all of theirs together.

    Parameters
    ----------
    data_module
        The data module that Darts set up.
    key
        Key of the training order besides the epoch.
    """

    def __init__(self, data_module: TorchDataModule, *, key: tuple[int, ...]) -> None:
        super().__init__(
            train_dataset=data_module.train_dataset,
            val_dataset=data_module.val_dataset,
            batch_size=data_module.batch_size,
            dataloader_kwargs={**data_module.dataloader_kwargs, "shuffle": data_module.shuffle},
        )
        self.key = key

    def train_dataloader(self) -> Any:
        """Return the loader of the training data."""
        trainer = self.trainer
        has_own_order = not _ORDER_OPTIONS.isdisjoint(self.dataloader_kwargs)
        if self.train_dataset is None or trainer is None or has_own_order:
            return super().train_dataloader()
        return ResumableDataLoader(
            self.train_dataset,
            # without a `random_state` each process has drawn a seed of its own
            key=trainer.strategy.broadcast(self.key),
            # unlike `trainer.current_epoch`, right already while a checkpoint is being restored
            current_epoch=lambda: cast(Any, trainer.fit_loop.epoch_progress.current).processed,
            shuffle=self.shuffle,
            limit_batches=trainer.limit_train_batches,
            **(trainer.distributed_sampler_kwargs or {}),
            batch_size=self.batch_size,
            **self.dataloader_kwargs,
        )
