"""Slow transcriptions of the paper's equations, loop by loop in float64 NumPy.

One sequence, one pixel and one gate at a time, and nothing shared with the package but the names
of the parameters. Letters as in the paper; a prime is written `_m`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]


def logistic(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def convolve(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Cross-correlate (C_in, H, W) with (C_out, C_in, k, k), zeros around."""
    n_out, _, k, _ = weight.shape
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((n_out, height, width))
    for channel in range(n_out):
        for row in range(height):
            for column in range(width):
                window = padded[:, row : row + k, column : column + k]
                out[channel, row, column] = np.sum(window * weight[channel])
        if bias is not None:
            out[channel] += bias[channel]
    return out


def layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    """Normalise over channels, height and width; gain and bias per channel."""
    mean, variance = x.mean(), x.var()
    out = np.zeros_like(x)
    for channel in range(len(x)):
        normal = (x[channel] - mean) / np.sqrt(variance + 1e-5)
        out[channel] = gain[channel] * normal + bias[channel]
    return out


def gates(parameters: Parameters, name: str, x: Array, n_gates: int) -> list[Array]:
    """Convolve one tensor, normalise if there is a norm, and cut the result into its gates."""
    out = convolve(
        x,
        parameters[f"{name}.convolution.weight"],
        parameters.get(f"{name}.convolution.bias"),
    )
    if f"{name}.norm.weight" in parameters:
        out = layer_norm(out, parameters[f"{name}.norm.weight"], parameters[f"{name}.norm.bias"])
    channels = len(out) // n_gates
    return [out[gate * channels : (gate + 1) * channels] for gate in range(n_gates)]


def fold(frame: Array, p: int) -> Array:
    """Move each p x p block of a frame into the channels, zeros where a block is not full."""
    channels, height, width = frame.shape
    rows, columns = -(-height // p), -(-width // p)
    out = np.zeros((channels * p * p, rows, columns))
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                out[(c * p + y % p) * p + x % p, y // p, x // p] = frame[c, y, x]
    return out


def unfold(patches: Array, p: int, height: int, width: int) -> Array:
    """Undo `fold`."""
    channels = len(patches) // (p * p)
    out = np.zeros((channels, height, width))
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                out[c, y, x] = patches[(c * p + y % p) * p + x % p, y // p, x // p]
    return out


class Recurrent(ABC):
    """A network for one sequence: a step of its layers, fed true frames and then its own.

    Parameters
    ----------
    parameters
        The network's parameters as float64 arrays, by their names.
    widths
        Channels of each layer.
    patch_size
        Side of a patch.
    """

    def __init__(self, parameters: Parameters, widths: Sequence[int], patch_size: int) -> None:
        self.parameters = parameters
        self.widths = widths
        self.patch_size = patch_size

    def forecast(self, context: Array, horizon: int) -> Array:
        """Return the prediction after each input frame: (T - 1 + horizon, C, H, W)."""
        height, width = context.shape[-2:]
        rows, columns = fold(context[0], self.patch_size).shape[1:]
        self.begin([np.zeros((width, rows, columns)) for width in self.widths])
        predictions: list[Array] = []
        for t in range(len(context) + horizon - 1):
            frame = context[t] if t < len(context) else predictions[-1]
            h = self.advance(fold(frame, self.patch_size))
            head = convolve(h, self.parameters["head.weight"], self.parameters["head.bias"])
            predictions.append(unfold(head, self.patch_size, height, width))
        return np.stack(predictions)

    @abstractmethod
    def begin(self, zero: list[Array]) -> None:
        """Set the state to zero."""

    @abstractmethod
    def advance(self, x: Array) -> Array:
        """Advance all layers a step and return the hidden state of the top one."""

    def _path(self, layer: int, m: Array) -> Array:
        """M on its way into a layer: through a 1x1 convolution where the widths differ."""
        if self.widths[layer - 1] == self.widths[layer]:
            return m
        name = f"memory_paths.{layer}"
        return convolve(m, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])


def st_lstm(
    p: Parameters, name: str, x: Array, h: Array, c: Array, m: Array
) -> tuple[Array, Array, Array]:
    """Equation 1 of the MIM paper: H, C and M of a layer."""
    xg, xi, xf, xo, xg_m, xi_m, xf_m = gates(p, f"{name}.from_input", x, 7)
    hg, hi, hf, ho = gates(p, f"{name}.from_hidden", h, 4)
    mg, mi, mf = gates(p, f"{name}.memory.from_memory", m, 3)
    g, i, f = np.tanh(xg + hg), logistic(xi + hi), logistic(xf + hf)
    c = f * c + i * g
    g_m, i_m, f_m = np.tanh(xg_m + mg), logistic(xi_m + mi), logistic(xf_m + mf)
    m = f_m * m + i_m * g_m
    return hidden(p, name, xo + ho, c, m), c, m


def hidden(p: Parameters, name: str, o: Array, c: Array, m: Array) -> Array:
    """The last two lines of equation 1."""
    both = np.concatenate([c, m])
    (cmo,) = gates(p, f"{name}.output.from_memories", both, 1)
    merged = convolve(both, p[f"{name}.output.merge.weight"])
    return logistic(o + cmo) * np.tanh(merged)


class PredRNN(Recurrent):
    """PredRNN, NeurIPS 2017, figure 2 (right) and equation 3."""

    def begin(self, zero: list[Array]) -> None:
        self.h, self.c, self.m = list(zero), list(zero), zero[-1]

    def advance(self, x: Array) -> Array:
        for layer in range(len(self.widths)):
            m = self._path(layer, self.m)
            name = f"cells.{layer}"
            x, self.c[layer], self.m = st_lstm(
                self.parameters, name, x, self.h[layer], self.c[layer], m
            )
            self.h[layer] = x
        return x


class ConvLSTM(Recurrent):
    """ConvLSTM, NeurIPS 2015, equation 3, with a peephole weight for each channel."""

    def begin(self, zero: list[Array]) -> None:
        self.h, self.c = list(zero), list(zero)

    def advance(self, x: Array) -> Array:
        for layer in range(len(self.widths)):
            name, c = f"cells.{layer}", self.c[layer]
            xg, xi, xf, xo = gates(self.parameters, f"{name}.from_input", x, 4)
            hg, hi, hf, ho = gates(self.parameters, f"{name}.from_hidden", self.h[layer], 4)
            wi, wf, wo = self.parameters[f"{name}.peepholes"]
            i, f = logistic(xi + hi + wi * c), logistic(xf + hf + wf * c)
            c = f * c + i * np.tanh(xg + hg)
            x = logistic(xo + ho + wo * c) * np.tanh(c)
            self.h[layer], self.c[layer] = x, c
        return x


class PredRNNPlusPlus(Recurrent):
    """PredRNN++, ICML 2018, equations 1 and 2 and figure 3."""

    def begin(self, zero: list[Array]) -> None:
        self.h, self.c, self.m, self.z = list(zero), list(zero), zero[-1], zero[0]

    def advance(self, x: Array) -> Array:
        for layer in range(len(self.widths)):
            x = self._causal_lstm(layer, x, self._path(layer, self.m))
            self.h[layer] = x
            if layer == 0:
                xp, xs = gates(self.parameters, "highway.from_input", x, 2)
                zp, zs = gates(self.parameters, "highway.from_state", self.z, 2)
                p, s = np.tanh(xp + zp), logistic(xs + zs)
                x = self.z = s * p + (1 - s) * self.z
        return x

    def _causal_lstm(self, layer: int, x: Array, m: Array) -> Array:
        p, name, c = self.parameters, f"cells.{layer}", self.c[layer]
        xg, xi, xf, xg_m, xi_m, xf_m, xo = gates(p, f"{name}.from_input", x, 7)
        hg, hi, hf = gates(p, f"{name}.from_hidden", self.h[layer], 3)
        cg, ci, cf = gates(p, f"{name}.from_cell", c, 3)
        c = logistic(xf + hf + cf) * c + logistic(xi + hi + ci) * np.tanh(xg + hg + cg)
        cg_m, ci_m, cf_m, co = gates(p, f"{name}.from_new_cell", c, 4)
        mg_m, mi_m, mf_m, mm = gates(p, f"{name}.from_memory", m, 4)
        g_m = np.tanh(xg_m + cg_m + mg_m)
        i_m, f_m = logistic(xi_m + ci_m + mi_m), logistic(xf_m + cf_m + mf_m)
        m = f_m * np.tanh(mm) + i_m * g_m
        (mo,) = gates(p, f"{name}.from_new_memory", m, 1)
        merged = convolve(np.concatenate([c, m]), p[f"{name}.merge.weight"])
        self.c[layer], self.m = c, m
        return np.tanh(xo + co + mo) * np.tanh(merged)


class MIM(Recurrent):
    """The network of the paper's section 3.4 for one sequence.

    Parameters
    ----------
    parameters
        The network's parameters as float64 arrays, by their names.
    widths
        Channels of each layer.
    patch_size
        Side of a patch.
    nonstationary, stationary
        Whether the MIM blocks have their MIM-N and MIM-S.
    """

    def __init__(
        self,
        parameters: Parameters,
        widths: Sequence[int],
        patch_size: int,
        *,
        nonstationary: bool = True,
        stationary: bool = True,
    ) -> None:
        super().__init__(parameters, widths, patch_size)
        self.nonstationary = nonstationary
        self.stationary = stationary

    def begin(self, zero: list[Array]) -> None:
        # H, C, N, S of each layer at t - 1, and M of the top layer at t - 1
        self.h, self.c, self.n, self.s = list(zero), list(zero), list(zero), list(zero)
        self.m = zero[-1]
        self.has_begun = False

    def advance(self, x: Array) -> Array:
        h, c, n, s = self.h, self.c, self.n, self.s
        before = list(h)
        h[0], c[0], m = self._st_lstm(x, h[0], c[0], self._path(0, self.m))
        for layer in range(1, len(self.widths)):
            d = h[layer - 1] - before[layer - 1] if self.has_begun else np.zeros_like(h[layer - 1])
            h[layer], c[layer], n[layer], s[layer], m = self._mim_block(
                layer, h[layer - 1], d, h[layer], c[layer], n[layer], s[layer],
                self._path(layer, m),
            )  # fmt: skip
        self.m, self.has_begun = m, True
        return h[-1]

    def _st_lstm(self, x: Array, h: Array, c: Array, m: Array) -> tuple[Array, Array, Array]:
        return st_lstm(self.parameters, "bottom", x, h, c, m)

    def _mim_block(
        self, layer: int, x: Array, d: Array, h: Array, c: Array, n: Array, s: Array, m: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        p, name = self.parameters, f"blocks.{layer - 1}"
        xg, xi, xo, xg_m, xi_m, xf_m = gates(p, f"{name}.from_input", x, 6)
        hg, hi, ho = gates(p, f"{name}.from_hidden", h, 3)
        mg, mi, mf = gates(p, f"{name}.memory.from_memory", m, 3)
        g, i = np.tanh(xg + hg), logistic(xi + hi)
        kept = d
        if self.nonstationary:
            kept, n = self._mim_n(f"{name}.nonstationary", kept, n)
        if self.stationary:
            kept, s = self._mim_s(f"{name}.stationary", kept, c, s)
        c = kept + i * g
        g_m, i_m, f_m = np.tanh(xg_m + mg), logistic(xi_m + mi), logistic(xf_m + mf)
        m = f_m * m + i_m * g_m
        return hidden(p, name, xo + ho, c, m), c, n, s, m

    def _mim_n(self, name: str, d: Array, n: Array) -> tuple[Array, Array]:
        dg, di, df, do = gates(self.parameters, f"{name}.from_difference", d, 4)
        ng, ni, nf = gates(self.parameters, f"{name}.from_state", n, 3)
        g, i, f = np.tanh(dg + ng), logistic(di + ni), logistic(df + nf)
        n = f * n + i * g
        (no,) = gates(self.parameters, f"{name}.from_new_state", n, 1)
        return logistic(do + no) * np.tanh(n), n

    def _mim_s(self, name: str, d: Array, c: Array, s: Array) -> tuple[Array, Array]:
        dg, di, df, do = gates(self.parameters, f"{name}.from_difference", d, 4)
        cg, ci, cf, co = gates(self.parameters, f"{name}.from_cell", c, 4)
        g, i, f = np.tanh(dg + cg), logistic(di + ci), logistic(df + cf)
        s = f * s + i * g
        (so,) = gates(self.parameters, f"{name}.from_new_state", s, 1)
        return logistic(do + co + so) * np.tanh(s), s


class STResNet:
    """ST-ResNet, AAAI 2017, figures 3 and 4 and equations 2 to 4, for one sequence.

    Parameters
    ----------
    parameters
        The network's parameters as float64 arrays, by their names.
    branches
        For each branch the number of frames that it reads, and the time steps between them.
    residual_units
        Number of residual units in each branch.
    tanh
        Whether the prediction goes through a tanh.
    """

    def __init__(
        self,
        parameters: Parameters,
        branches: Mapping[str, tuple[int, int]],
        residual_units: int,
        *,
        tanh: bool = False,
    ) -> None:
        self.parameters = parameters
        self.branches = branches
        self.residual_units = residual_units
        self.tanh = tanh

    def forecast(
        self,
        context: Array,
        horizon: int,
        *,
        scalars: Array | None = None,
        planes: Array | None = None,
        flags: Array | None = None,
    ) -> Array:
        """Return a forecast (horizon, C, H, W), of what step t - 1 says beside frame t.

        With flags (T, C, H, W) each frame is read beside them; those of forecasts are zeros.
        """
        frames = list(context)
        told = None if flags is None else list(flags)
        for t in range(len(context), len(context) + horizon):
            total = np.zeros_like(context[0])
            for name, (number, gap) in self.branches.items():
                reads: list[Array] = []
                for k in reversed(range(number)):
                    reads.append(frames[t - (k + 1) * gap])
                    if told is not None:
                        reads.append(told[t - (k + 1) * gap])
                if name == "closeness" and planes is not None:
                    reads.append(planes[t - 1])
                total += self._branch(name, np.concatenate(reads))
            if scalars is not None:
                total += self._external(scalars[t - 1], total.shape)
            frames.append(np.tanh(total) if self.tanh else total)
            if told is not None:
                told.append(np.zeros_like(total))
        return np.stack(frames[len(context) :])

    def _branch(self, name: str, x: Array) -> Array:
        """One term of equation 3."""
        x = self._convolve(f"branches.{name}.first", x)
        for unit in range(self.residual_units):
            residual = self._convolve(f"branches.{name}.units.{unit}.first", np.maximum(x, 0))
            x = x + self._convolve(f"branches.{name}.units.{unit}.second", np.maximum(residual, 0))
        x = self._convolve(f"branches.{name}.last", np.maximum(x, 0))
        return self.parameters[f"branches.{name}.fusion"] * x

    def _convolve(self, name: str, x: Array) -> Array:
        return convolve(x, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _external(self, scalars: Array, shape: tuple[int, ...]) -> Array:
        """Two fully connected layers, unit by unit and cell by cell."""
        p = self.parameters
        hidden = [
            max(0.0, float(np.dot(weight, scalars) + bias))
            for weight, bias in zip(
                p["external.first.weight"], p["external.first.bias"], strict=True
            )
        ]
        out = np.zeros(shape)
        for n, cell in enumerate(np.ndindex(*shape)):
            out[cell] = (
                np.dot(p["external.second.weight"][n], hidden) + p["external.second.bias"][n]
            )
        return out
