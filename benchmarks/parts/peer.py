"""Training steps of another implementation of the network, in turn with ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.options import Case, Options, PartSkippedError, PeerError, PeerPlace
from benchmarks.origin import describe_commit
from benchmarks.timing import in_turn, medians, ratio, rounded, timed
from benchmarks.workload import (
    COMPARED,
    TrainingStep,
    Workload,
    describe,
    describe_frames,
    workload_of,
)


class Adapter(NamedTuple):
    """How another implementation is made and called.

    Attributes
    ----------
    build
        Returns the network of a ``Workload``.
    step
        Returns the loss of that network on a clip (B, context + horizon, C, H, W).
    """

    build: Callable[[Workload], nn.Module]
    step: Callable[[Any, Tensor], Tensor]


def cases(options: Options) -> list[Case]:
    """Return a row for each network of the part ``steps``."""
    if options.peer is None:
        raise PartSkippedError("no --peer was given")
    adapter, place = load(options.peer), options.peer
    name = f"{place.folder.resolve().name} {place.class_name or ''}".strip()
    workloads = [
        workload_of(options, *each)
        for each in product(options.settings, options.widths, options.precisions)
    ]
    return [
        Case(
            {
                "measured": "training step beside a peer",
                "peer": name,
                "peer_commit": describe_commit(place.folder),
                **describe(workload),
                "rounds": options.rounds,
            },
            partial(compare, adapter, workload, options.rounds),
        )
        for workload in workloads
    ]


def compare(adapter: Adapter, workload: Workload, rounds: int) -> dict[str, Any]:
    """Time the other implementation and ours in turn."""
    torch.manual_seed(0)
    theirs = adapter.build(workload).to(workload.device)
    steps = {
        "peer": TrainingStep(workload, theirs, adapter.step),
        **{name: workload.training_step(name) for name in COMPARED},
    }
    times = in_turn({name: timed(step, workload.device) for name, step in steps.items()}, rounds)
    return {
        **describe_frames(workload.setting),
        "parameters": {
            name: _count(step.module) for name, step in steps.items() if name != "plain"
        },
        "seconds": medians(times),
        "over_peer": {name: ratio(times, name, over="peer") for name in COMPARED},
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def load(place: PeerPlace) -> Adapter:
    """Import another implementation, and return how it is called.

    Raises
    ------
    PeerError
        If it cannot be imported.
    """
    if not place.folder.is_dir():
        raise PeerError(f"--peer {place.folder} is no folder; give a checkout of the peer")
    sys.path.insert(0, str(place.folder.resolve()))
    if place.adapter is not None:
        return _load_adapter(place.adapter)
    module_name, _, class_name = (place.class_name or "").partition(":")
    expected = f"looked for the class `{class_name}` in `{module_name}` in {place.folder}"
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise PeerError(
            f"the peer could not be imported: {expected}, and got {error!r}. Give MODULE:CLASS as "
            "Python imports it from that folder, and install what the module itself imports"
        ) from error
    if not hasattr(module, class_name):
        raise PeerError(f"the peer has no such class: {expected}")
    return openstl_adapter(getattr(module, class_name))


def _load_adapter(path: Path) -> Adapter:
    spec = spec_from_file_location("peer_adapter", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PeerError(f"--peer-adapter {path} is no Python file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return Adapter(module.build, module.step)
    except (ImportError, AttributeError) as error:
        raise PeerError(
            f"--peer-adapter {path} must define `build(workload)`, which returns a module, and "
            f"`step(module, clip)`, which returns its loss; got {error!r}"
        ) from error


def openstl_adapter(network_type: type[nn.Module]) -> Adapter:
    """Return how a network is called that has the interface of OpenSTL's ``MIM_Model``."""

    def build(workload: Workload) -> nn.Module:
        return OpenSTLNetwork(network_type, workload)

    return Adapter(build, OpenSTLNetwork.__call__)


class OpenSTLNetwork(nn.Module):
    """A network of OpenSTL, which returns its loss on a clip.

    It is made with the number of layers, their widths and a configuration. It reads clips that are
    folded into patches, channels last, and a mask that says which frames of the horizon are fed as
    they are, here none; and it returns its predictions and their mean squared error.

    Parameters
    ----------
    network_type
        Its class.
    workload
        Sizes.
    """

    def __init__(self, network_type: type[nn.Module], workload: Workload) -> None:
        super().__init__()
        widths = list(workload.hidden_channels)
        self.setting = workload.setting
        self.network = network_type(len(widths), widths, configuration_of(workload))

    def forward(self, clip: Tensor) -> Tensor:
        """Return the loss on a clip (B, context + horizon, C, H, W)."""
        patches = folded(clip, self.setting.patch_size)
        loss: Tensor = self.network(
            patches, torch.zeros_like(patches[:, 1 : self.setting.horizon])
        )[1]
        return loss


def configuration_of(workload: Workload) -> SimpleNamespace:
    """Return a configuration as OpenSTL's recurrent networks read it."""
    _, channels, height, width, patch_size, _, context, horizon = workload.setting
    return SimpleNamespace(
        in_shape=(context, channels, height, width),
        patch_size=patch_size,
        filter_size=workload.kernel_size,
        stride=1,
        layer_norm=True,
        pre_seq_length=context,
        aft_seq_length=horizon,
        total_length=context + horizon,
        reverse_scheduled_sampling=0,
    )


def folded(clip: Tensor, patch_size: int) -> Tensor:
    """Return patches (B, T, H / p, W / p, p * p * C) of a clip (B, T, C, H, W)."""
    return nn.functional.pixel_unshuffle(clip, patch_size).movedim(2, -1).contiguous()


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
