"""Constructors that write down their own options, and pass all others on."""

from __future__ import annotations

import inspect

from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel


def full_signature(model_type: type) -> inspect.Signature:
    """Return the signature of a constructor, with the options that it passes on to its bases.

    Parameters
    ----------
    model_type
        A subclass of ``TorchForecastingModel``. A constructor without ``**kwargs`` passes none on.
    """
    found: dict[str, inspect.Parameter] = {}
    bases = [each for each in model_type.__mro__ if "__init__" in vars(each)]
    bases.insert(bases.index(TorchForecastingModel), PLForecastingModule)
    for base in bases[: bases.index(TorchForecastingModel) + 1]:
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        named = [each for each in parameters if each.kind is not each.VAR_KEYWORD]
        for each in named:
            is_own = base is bases[0]
            found.setdefault(each.name, each if is_own else each.replace(kind=each.KEYWORD_ONLY))
        if len(named) == len(parameters) and base is not PLForecastingModule:
            break
    found.pop("train_sample_shape", None)  # which Darts gives
    return inspect.Signature(list(found.values()))
