"""Packages that only some functions need."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_optional(module: str, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"av"``.
    extra : str
        The extra of this package that installs it, such as ``"video"``.

    Returns
    -------
    module
        The module.

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra.

    Examples
    --------
    >>> import_optional("json", extra="video").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {module!r}, which is not installed ({error}); install it "
            f"from a clone of darts_mim with `pip install '.[{extra}]'`"
        ) from error
