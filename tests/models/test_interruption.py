"""A run that is killed, at any moment, goes on from its newest checkpoint."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from darts.utils.serialization.torch import _DartsCheckpointIO

from darts_mim import MIMModel, ScheduledSampling
from darts_mim.models.checkpoints import AtomicCheckpointIO
from tests.models import small_models
from tests.models.small_models import make_series, weights

resource = pytest.importorskip("resource", reason="kills processes as Unix does")

# Its server imports the package once: after that a process costs next to nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["darts_mim"])

N_EPOCHS = 2
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*could not find the monitored key"),
]


def make_model(folder: Path, **trainer: Any) -> MIMModel:
    return small_models.make_model(
        n_epochs=N_EPOCHS,
        scheduled_sampling=ScheduledSampling.reverse(begin=2, until=8, steps=4),
        lr_scheduler_cls=torch.optim.lr_scheduler.StepLR,
        lr_scheduler_kwargs={"step_size": 1, "gamma": 0.9},
        save_checkpoints=True,
        force_reset=True,
        work_dir=str(folder),
        model_name="run",
        trainer=trainer,
    )


def load(folder: Path) -> MIMModel:
    return MIMModel.load_from_checkpoint("run", work_dir=str(folder), best=False)


def train(model: MIMModel) -> torch.Tensor:
    """Return the weights after the last epoch."""
    torch.set_num_threads(1)  # in other numbers of threads sums round otherwise
    return weights(model.fit(make_series()))


def names(folder: Path, pattern: str = "last-*") -> list[str]:
    return sorted(path.name for path in (folder / "run" / "checkpoints").glob(pattern))


# --- what processes run -------------------------------------------------------------------------


def start(folder: Path) -> None:
    train(make_model(folder))


def start_and_die(folder: Path, moment: int, amid_writing: bool) -> None:
    """Train up to the n-th change to the files in a folder, or into the n-th file written there.

    To this process the temporary folder is one on another file system.
    """
    tempfile.tempdir = str(folder / "temporary")
    Path(tempfile.tempdir).mkdir()
    rename = os.rename

    def rename_in_one_file_system(source: Any, target: Any, **options: Any) -> None:
        if str(source).startswith(tempfile.gettempdir()):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target, **options)

    os.rename = rename_in_one_file_system  # type: ignore[assignment]
    changes = count(1)

    def watch(event: str, args: tuple[Any, ...]) -> None:
        is_change = event == "open" and "w" in (args[1] or "")
        if not amid_writing:
            is_change |= event in CHANGES
        if not is_change or str(folder) not in str(args[0]) or next(changes) != moment:
            return
        if not amid_writing:
            os.kill(os.getpid(), signal.SIGKILL)
        # the system kills a process that writes more, unless it ignores the signal as Python does
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    sys.addaudithook(watch)
    start(folder)


def run(function: Any, *args: Any) -> int | None:
    """Run a function in a process to its end; return the negative of the signal that ended it."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None, "the process has not ended"
    return process.exitcode


# --- tests --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("amid_writing", "cause"), [(False, signal.SIGKILL), (True, signal.SIGXFSZ)]
)
def test_a_run_killed_at_any_change_to_its_files_goes_on(
    tmp_path: Path, amid_writing: bool, cause: signal.Signals
) -> None:
    whole = train(make_model(tmp_path / "whole"))
    found = []
    for moment in count(1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        ended_by = run(start_and_die, folder, moment, amid_writing)
        if ended_by == 0:
            break
        assert ended_by == -cause
        found.append(names(folder))
        if found[-1]:
            model = load(folder)
        else:
            with pytest.raises((FileNotFoundError, ValueError), match=r"no file match|not find"):
                load(folder)
            model = make_model(folder)
        assert torch.equal(train(model), whole)
        assert not names(folder, ".*")
        shutil.rmtree(folder)
    # before the first checkpoint, and with each; between writing one and removing the last one
    last = [f"last-epoch={epoch}.ckpt" for epoch in range(N_EPOCHS)]
    expected = [[], *([name] for name in last[:-1])]
    expected += [] if amid_writing else [last]
    assert {tuple(each) for each in found} == {tuple(each) for each in expected}


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    plugin, path = AtomicCheckpointIO(), tmp_path / "new" / "last.ckpt"
    plugin.save_checkpoint({"step": 1}, path)
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
        plugin.save_checkpoint({"step": lambda: 2}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert plugin.load_checkpoint(path) == {"step": 1}


def test_what_is_no_local_file_is_left_to_lightning() -> None:
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({"step": 1}, "memory://folder/last.ckpt")
    assert not Path("memory:").exists()
    with pytest.raises(TypeError, match="storage_options"):
        plugin.save_checkpoint({"step": 1}, "last.ckpt", storage_options={})


def test_a_plugin_of_the_user_comes_first(tmp_path: Path) -> None:
    theirs = _DartsCheckpointIO()
    for plugins, expected in (([], AtomicCheckpointIO), ([theirs], _DartsCheckpointIO)):
        model = make_model(tmp_path, plugins=plugins)
        train(model)
        assert type(model.trainer.strategy.checkpoint_io) is expected
