"""Small networks of all kinds, with random parameters in float64, and how far results are apart."""

from typing import Any

import torch
from torch import Tensor

from darts_mim.nn import ConvLSTMNetwork, MIMNetwork, PredRNNNetwork, PredRNNPlusPlusNetwork
from tests import references

NETWORKS: dict[str, tuple[Any, Any, dict[str, bool]]] = {
    "ConvLSTM": (ConvLSTMNetwork, references.ConvLSTM, {}),
    "PredRNN": (PredRNNNetwork, references.PredRNN, {}),
    "PredRNN++": (PredRNNPlusPlusNetwork, references.PredRNNPlusPlus, {}),
    "MIM": (MIMNetwork, references.MIM, {}),
    "MIM without MIM-N": (MIMNetwork, references.MIM, {"nonstationary_unit": False}),
    "MIM without MIM-S": (MIMNetwork, references.MIM, {"stationary_unit": False}),
}


def make_network(
    name: str = "MIM", in_channels: int = 2, widths: tuple[int, ...] = (3, 2, 4), **options: Any
) -> Any:
    """Return a network in float64 whose parameters are all random, biases and gains too."""
    torch.manual_seed(0)
    network_type, _, units = NETWORKS[name]
    options = {"kernel_size": 3, "patch_size": 2, **units, **options}
    return randomise(network_type(in_channels, widths, **options))


def randomise(network: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def random(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def far(got: Tensor, expected: Tensor) -> float:
    """Return the distance by the size, in the Euclidean norm."""
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).norm() / expected.norm())


def joined(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in gradients.values()])


def gradients_of(network: Any) -> Tensor:
    return torch.cat([each.grad.flatten() for each in network.parameters()])
