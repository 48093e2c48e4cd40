"""Random numbers that are a pure function of a key, so that a resumed run draws them again."""

from __future__ import annotations

import hashlib

import torch


def keyed_generator(*key: int | str) -> torch.Generator:
    """Return a generator on the CPU that is seeded with a key.

    Torch's CPU generator reads no more than 32 bits of a seed: the key is hashed to that many,
    so that each of its parts counts.

    Parameters
    ----------
    *key
        What the numbers may depend on: the seed of a run and the number of a step, say.

    Returns
    -------
    torch.Generator
        The same key gives the same numbers, on any machine.

    Examples
    --------
    >>> first, again, other = (
    ...     torch.rand(1, generator=keyed_generator(0, i)).item() for i in (1, 1, 2)
    ... )
    >>> first == again, first == other
    (True, False)
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little"))
