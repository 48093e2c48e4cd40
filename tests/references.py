"""Slow transcriptions of the paper's equations, loop by loop in float64 NumPy.

One sequence, one pixel and one gate at a time, and nothing shared with the package but the names
of the parameters. Letters as in the paper; a prime is written `_m`.
"""

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


class MIM:
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
        self.parameters = parameters
        self.widths = widths
        self.patch_size = patch_size
        self.nonstationary = nonstationary
        self.stationary = stationary

    def forecast(self, context: Array, horizon: int) -> Array:
        """Return the prediction after each input frame: (T - 1 + horizon, C, H, W)."""
        height, width = context.shape[-2:]
        rows, columns = fold(context[0], self.patch_size).shape[1:]
        zero = [np.zeros((w, rows, columns)) for w in self.widths]
        # H, C, N, S of each layer at t - 1, and M of the top layer at t - 1
        h, c, n, s = list(zero), list(zero), list(zero), list(zero)
        m = zero[-1]
        predictions: list[Array] = []
        for t in range(len(context) + horizon - 1):
            frame = context[t] if t < len(context) else predictions[-1]
            before = list(h)
            h[0], c[0], m = self._st_lstm(
                fold(frame, self.patch_size), h[0], c[0], self._path(0, m)
            )
            for layer in range(1, len(self.widths)):
                d = h[layer - 1] - before[layer - 1] if t > 0 else np.zeros_like(h[layer - 1])
                h[layer], c[layer], n[layer], s[layer], m = self._mim_block(
                    layer, h[layer - 1], d, h[layer], c[layer], n[layer], s[layer],
                    self._path(layer, m),
                )  # fmt: skip
            head = convolve(h[-1], self.parameters["head.weight"], self.parameters["head.bias"])
            predictions.append(unfold(head, self.patch_size, height, width))
        return np.stack(predictions)

    def _path(self, layer: int, m: Array) -> Array:
        """M on its way into a layer: through a 1x1 convolution where the widths differ."""
        if self.widths[layer - 1] == self.widths[layer]:
            return m
        name = f"memory_paths.{layer}"
        return convolve(m, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _st_lstm(self, x: Array, h: Array, c: Array, m: Array) -> tuple[Array, Array, Array]:
        p = self.parameters
        xg, xi, xf, xo, xg_m, xi_m, xf_m = gates(p, "bottom.from_input", x, 7)
        hg, hi, hf, ho = gates(p, "bottom.from_hidden", h, 4)
        mg, mi, mf = gates(p, "bottom.memory.from_memory", m, 3)
        g, i, f = np.tanh(xg + hg), logistic(xi + hi), logistic(xf + hf)
        c = f * c + i * g
        g_m, i_m, f_m = np.tanh(xg_m + mg), logistic(xi_m + mi), logistic(xf_m + mf)
        m = f_m * m + i_m * g_m
        return self._hidden("bottom", xo + ho, c, m), c, m

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
        return self._hidden(name, xo + ho, c, m), c, n, s, m

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

    def _hidden(self, name: str, o: Array, c: Array, m: Array) -> Array:
        both = np.concatenate([c, m])
        (cmo,) = gates(self.parameters, f"{name}.output.from_memories", both, 1)
        merged = convolve(both, self.parameters[f"{name}.output.merge.weight"])
        return logistic(o + cmo) * np.tanh(merged)
