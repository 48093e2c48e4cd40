"""The benchmark command runs in tiny sizes, goes on where it stopped, and says what is wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.__main__ import main
from benchmarks.floor import count_flops
from benchmarks.networks import MIMNetwork
from benchmarks.options import PeerError, PeerPlace
from benchmarks.parts.calls import idle_kernels
from benchmarks.parts.peer import OpenSTLNetwork, configuration_of, load
from benchmarks.parts.scaling import fit_line, fit_power
from benchmarks.record import Record
from benchmarks.sizes import QUICK
from benchmarks.timing import in_turn, medians, ratio
from benchmarks.workload import Workload

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("--quick", "--threads", "1", "--device", "cpu")
ORIGIN = {"command": "python -m benchmarks", "commit": "a", "processor": "b"}
WORKLOAD = Workload(QUICK.settings[0], (4, 6), 3, "float32", "cpu")
PEER = '''
from torch import nn


class MIM_Model(nn.Module):
    """A network with the interface of OpenSTL's, which predicts that all stays as it is."""

    def __init__(self, num_layers, num_hidden, configs, **kwargs):
        super().__init__()
        assert num_layers == len(num_hidden)
        _, channels, height, width = configs.in_shape
        self.shape = height // configs.patch_size, width // configs.patch_size
        self.steps = configs.pre_seq_length + configs.aft_seq_length - 1
        self.scale = nn.Linear(channels * configs.patch_size**2, 1)
        self.fed = configs.aft_seq_length - 1

    def forward(self, frames_tensor, mask_true, **kwargs):
        assert frames_tensor.shape[1:4] == (self.steps + 1, *self.shape)
        assert mask_true.shape[1] == self.fed and not mask_true.any()
        frames = frames_tensor[:, :-1] * self.scale(frames_tensor[:, :-1])
        return frames, nn.functional.mse_loss(frames, frames_tensor[:, 1:])
'''


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout of another implementation, and forget afterwards what was imported."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    folder = tmp_path / "peer"
    folder.mkdir()
    (folder / "peer_of_tests.py").write_text(PEER)
    (folder / "lacking.py").write_text("import a_module_that_nobody_has")
    return folder


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """Run the command in this process, which has imported Darts already."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *OPTIONS, *map(str, arguments)])
    main()


def measured(record: dict[str, Any], part: str) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in record["parts"][part]["rows"]:
        rows.setdefault(row["measured"], []).append(row)
    return rows


@pytest.mark.slow
def test_all_parts_are_measured_and_a_second_run_measures_what_is_missing_alone(
    tmp_path: Path,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "results" / "record.json"
    peer = ("--peer", checkout, "--peer-class", "peer_of_tests:MIM_Model")
    arguments = ("--rounds", "2", "--precisions", "bfloat16", "--output", output, *peer)
    command = [sys.executable, "-m", "benchmarks", *OPTIONS, *map(str, arguments)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    record = json.loads(output.read_text())
    check_origin(record["origin"])
    check_steps(measured(record, "steps"))
    check_others(record)
    assert "== recompute" in answer.stdout

    dropped = record["parts"]["scaling"]["rows"].pop(1)
    output.write_text(json.dumps(record))
    run_here(monkeypatch, *arguments)
    resumed = json.loads(output.read_text())
    again = resumed["parts"]["scaling"]["rows"].pop()
    assert again["against"] == dropped["against"]
    assert again["seconds_by_round"] != dropped["seconds_by_round"]
    assert resumed == record
    assert capsys.readouterr().out.count("1/1:") == 1
    assert list(output.parent.iterdir()) == [output]


def check_origin(origin: dict[str, Any]) -> None:
    assert origin["command"].startswith("python -m benchmarks --quick")
    assert origin["device"] == "cpu"
    assert origin["threads"] == 1
    assert {"commit", "source", "processor", "python", "torch", "darts"} <= set(origin)


def check_steps(rows: dict[str, list[dict[str, Any]]]) -> None:
    assert set(rows) == {"training step", "rollout", "peak memory", "first call"}
    for name in ("training step", "rollout"):
        [row] = rows[name]
        assert set(row["seconds"]) == {"plain", "fast", "plain_float32", "floor"}
        assert row["fast_over_plain_float32"] > 0
        assert set(row["over_floor"]) == {"plain", "fast"}
        assert all(len(seconds) == 2 for seconds in row["seconds_by_round"].values())
        assert row["best_rate"] in row["tflop_per_second"]
        assert len(row["tflop_per_second"]) == 3
        assert row["fast_over_plain"] > 0
    [forward], [step] = rows["rollout"], rows["training step"]
    assert 2 < step["convolution_tflop"] / forward["convolution_tflop"] < 3
    [memory] = rows["peak memory"]
    assert memory["mib"]["plain"] > 0


def check_others(record: dict[str, Any]) -> None:
    scaling = measured(record, "scaling")
    for rows in scaling.values():
        assert [row["against"] for row in rows] == ["steps", "area"]
        assert all(len(row["points"]) == 3 and row["standard_error"] >= 0 for row in rows)
        assert all(row["constant_share"] < 1 for row in rows)
    [step], [rollout] = measured(record, "calls").values()
    assert set(step["seconds"]) == set(rollout["seconds"]) == {"all", "calls"}
    through_darts = measured(record, "darts")
    [fit], [forecasts] = through_darts["fit"], through_darts["forecasts"]
    assert fit["steps"] == len(fit["seconds_by_step"]["network"]) == 4
    assert fit["share_of_darts"] > -1
    assert set(forecasts["over_network"]) == {"historical_forecasts", "backtest"}
    [recomputation] = measured(record, "recompute")["recomputation"]
    assert set(recomputation["mib"]) == {"plain", "fast", "recompute"}
    [beside] = measured(record, "peer")["training step beside a peer"]
    assert set(beside["seconds"]) == {"peer", "plain", "fast"}
    assert beside["peer"] == "peer peer_of_tests:MIM_Model"


def test_a_part_that_cannot_be_measured_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "record.json"
    run_here(monkeypatch, "--parts", "peer", "--output", output)
    assert json.loads(output.read_text())["parts"]["peer"]["skipped"] == "no --peer was given"


def test_a_peer_that_cannot_be_imported_ends_the_run_with_what_was_looked_for(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--peer", checkout, "--peer-class", "absent.models:MIM_Model")
    with pytest.raises(SystemExit, match=r"looked for the class `MIM_Model` in `absent\.models`"):
        run_here(monkeypatch, "--parts", "peer", "--output", tmp_path / "record.json", *place)


@pytest.mark.parametrize(
    ("class_name", "message"),
    [
        ("lacking:MIM_Model", "a_module_that_nobody_has.*install what the module itself imports"),
        ("peer_of_tests:Other", "no such class: looked for the class `Other`"),
        ("peer_of_tests", "no such class"),
        (":MIM_Model", "could not be imported"),
    ],
)
def test_what_a_peer_lacks_is_said(checkout: Path, class_name: str, message: str) -> None:
    with pytest.raises(PeerError, match=message):
        load(PeerPlace(checkout, class_name, None))


def test_an_adapter_without_its_functions_is_refused(checkout: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text("def build(workload): ...")
    with pytest.raises(PeerError, match="must define `build"):
        load(PeerPlace(checkout, None, adapter))
    with pytest.raises(PeerError, match="is no Python file"):
        load(PeerPlace(checkout, None, tmp_path / "absent.py"))
    with pytest.raises(PeerError, match="is no folder"):
        load(PeerPlace(checkout / "absent", None, adapter))


def test_an_adapter_is_taken_as_it_is(checkout: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter.py"
    path.write_text(
        "from peer_of_tests import MIM_Model\n"
        "from benchmarks.parts.peer import OpenSTLNetwork\n"
        "def build(workload): return OpenSTLNetwork(MIM_Model, workload)\n"
        "def step(module, clip): return 2 * module(clip)\n"
    )
    adapter = load(PeerPlace(checkout, None, path))
    network, clip = adapter.build(WORKLOAD), WORKLOAD.clip()
    torch.testing.assert_close(adapter.step(network, clip), 2 * network(clip))


def test_a_peer_reads_patches_in_the_order_of_the_frames() -> None:
    class Still(torch.nn.Module):
        def __init__(self, *_: Any) -> None:
            super().__init__()

        def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> tuple[Any, torch.Tensor]:
            return frames, torch.nn.functional.mse_loss(frames[:, :-1], frames[:, 1:])

    clip = WORKLOAD.clip()
    expected = torch.nn.functional.mse_loss(clip[:, :-1], clip[:, 1:])
    torch.testing.assert_close(OpenSTLNetwork(Still, WORKLOAD)(clip), expected)
    assert configuration_of(WORKLOAD).in_shape == (3, 2, 12, 8)


def test_fitted_exponents_are_those_of_made_up_times() -> None:
    sizes = [14, 19, 29, 49]
    power = fit_power(sizes, [0.3 * size**1.25 for size in sizes])
    assert power.exponent == pytest.approx(1.25)
    assert power.standard_error == pytest.approx(0, abs=1e-9)


def test_a_constant_is_told_from_what_grows() -> None:
    line = fit_line([64, 128, 256], [3 + 2 * 64, 3 + 2 * 128, 3 + 2 * 256])
    assert line.constant == pytest.approx(3)
    assert line.share == pytest.approx(3 / 131)


def test_calls_are_of_functions_that_do_nothing() -> None:
    torch.manual_seed(0)
    network = MIMNetwork(1, (32, 32), patch_size=4, fast_path=True)
    clip = torch.rand(1, 2, 1, 64, 64)
    expected, _ = network(clip, 2)
    with idle_kernels():
        idle, _ = network(clip, 2)
    assert idle.shape == expected.shape
    assert not torch.equal(idle, expected)
    assert torch.equal(network(clip, 2)[0], expected)


@pytest.mark.parametrize("trains", [True, False])
def test_operations_are_those_of_a_whole_batch(trains: bool) -> None:
    work = WORKLOAD.training_step("plain") if trains else WORKLOAD.rollout("plain")
    with FlopCounterMode(display=False) as counter:
        work()
    assert count_flops(WORKLOAD, trains=trains) == counter.get_total_flops()


def test_ratios_are_taken_within_a_round() -> None:
    seconds = {"ours": iter([1.0, 20.0, 3.0]), "theirs": iter([2.0, 40.0, 4.0])}
    times = in_turn({name: lambda each=each: next(each) for name, each in seconds.items()}, 3)
    assert times == {"ours": [1.0, 20.0, 3.0], "theirs": [2.0, 40.0, 4.0]}
    assert medians(times) == {"ours": 3.0, "theirs": 4.0}
    assert ratio(times, "ours", over="theirs") == 0.5


def test_a_record_of_other_code_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    Record(path, ORIGIN).add("steps", {"width": 4, "seconds": {"fast": 0.1}})
    more = Record(path, {**ORIGIN, "command": "python -m benchmarks --quick"})
    assert more.has("steps", {"width": 4})
    assert not more.has("steps", {"width": 8})
    assert not more.has("scaling", {"width": 4})
    more.skip("steps", "no reason")
    more.skip("peer", "no --peer was given")
    content = json.loads(path.read_text())
    assert content["origin"]["command"] == "python -m benchmarks && python -m benchmarks --quick"
    assert "skipped" not in content["parts"]["steps"]
    assert content["parts"]["peer"]["rows"] == []

    other = Record(path, {**ORIGIN, "commit": "c"})
    assert other.rows("steps") == []
    other.add("steps", {"width": 4})
    assert json.loads(path.read_text())["origin"]["commit"] == "c"
    assert json.loads(path.with_suffix(".before.json").read_text()) == content
