import pytest
import torch

from darts_mim.nn.patches import fold_patches, unfold_patches
from tests.references import fold, unfold


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 5), (3, 4), (1, 1)])
@pytest.mark.parametrize("patch_size", [1, 2, 3, 4])
def test_unfolding_undoes_folding(height: int, width: int, patch_size: int) -> None:
    frame = torch.rand(2, 3, height, width)
    patches = fold_patches(frame, patch_size)
    assert patches.shape == (
        2,
        3 * patch_size**2,
        -(-height // patch_size),
        -(-width // patch_size),
    )
    assert torch.equal(unfold_patches(patches, patch_size, height, width), frame)


def test_each_block_of_pixels_becomes_the_channels_of_one_patch() -> None:
    frame = torch.rand(1, 2, 7, 5, dtype=torch.float64)
    patches = fold_patches(frame, 3)
    expected = fold(frame[0].numpy(), 3)
    assert (patches[0].numpy() == expected).all()
    assert (unfold(expected, 3, 7, 5) == frame[0].numpy()).all()


def test_padding_is_zero_and_does_not_reach_the_frame() -> None:
    patches = fold_patches(torch.ones(1, 1, 5, 4), 4)
    assert patches.sum() == 20
    noise = patches + 100 * (patches == 0)
    assert torch.equal(unfold_patches(noise, 4, 5, 4), torch.ones(1, 1, 5, 4))
