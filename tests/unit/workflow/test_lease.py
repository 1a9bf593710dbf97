"""Leases of GPUs: real processes and real locks. No GPU is needed, since the names of GPUs are only names here."""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[3] / "workflow" / "scripts"
HOLD = 'echo "$CUDA_VISIBLE_DEVICES"; exec cat > /dev/null'  # says its GPU, and keeps it until its input ends


@dataclass
class Machine:
    """Environments of commands that share some GPUs.

    Attributes:
        folder: of the locks.
        gpus: CUDA_VISIBLE_DEVICES; None if it is not set.
        more: other variables.
    """

    folder: Path
    gpus: str | None
    more: dict[str, str]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a leased command, in a process group of its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "CUDA_"))}
        environment |= {"MGRAL_GPU_LOCKS": str(self.folder), **self.more}
        if self.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus
        return subprocess.Popen(
            [sys.executable, str(SCRIPTS / "lease.py"), *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, given: str = "") -> tuple[int, str, str]:
        """Run a leased command. Returns its status and what it printed on both streams."""
        process = self.start(*command)
        out, err = process.communicate(given, timeout=60)
        return process.returncode, out, err


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    def make(gpus: str | None, folder: str = "locks", **more: str) -> Machine:
        return Machine(tmp_path / folder, gpus, more)

    return make


@pytest.fixture
def holders() -> Iterator[Callable[[Machine], tuple[subprocess.Popen[str], str]]]:
    """Start commands that keep their GPU: the process, and the GPU that it was given. All end with the test."""
    processes = []

    def hold(machine: Machine) -> tuple[subprocess.Popen[str], str]:
        process = machine.start("sh", "-c", HOLD)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def test_concurrent_commands_never_share_a_slot(machine):
    """Ten commands on two GPUs, started together: of those on one GPU, each ends before the next begins."""
    program = (
        "import os, time; start = time.monotonic_ns(); time.sleep(0.1)\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], start, time.monotonic_ns())"
    )
    processes = [machine("0,1").start(sys.executable, "-c", program) for _ in range(10)]
    uses: dict[str, list[tuple[int, int]]] = {}
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        gpu, start, end = out.split()
        uses.setdefault(gpu, []).append((int(start), int(end)))
    assert set(uses) <= {"0", "1"}
    assert sum(map(len, uses.values())) == 10
    for spans in uses.values():
        spans.sort()
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_killed_command_gives_its_gpu_back(machine, holders):
    two = machine("0,1")
    first, gpu = holders(two)
    _, other = holders(two)
    assert {gpu, other} == {"0", "1"}
    waiting = two.start("sh", "-c", HOLD)
    assert waiting.stderr.readline() == "lease: waiting for one of 2 slots on GPU 0, 1\n"
    first.send_signal(signal.SIGKILL)
    assert waiting.communicate("", timeout=60)[0].strip() == gpu


def test_a_child_that_outlives_its_command_keeps_the_gpu(machine):
    """It may still hold the GPU's memory."""
    one = machine("0")
    command = one.start("sh", "-c", "sleep 600 & echo $!; wait")
    child = int(command.stdout.readline())
    command.kill()
    command.wait()
    waiting = one.start("sh", "-c", "echo ran")
    assert "waiting" in waiting.stderr.readline()
    time.sleep(0.5)  # more than one look at the locks
    assert waiting.poll() is None
    os.kill(child, signal.SIGKILL)
    assert waiting.communicate(timeout=60)[0] == "ran\n"
    command.communicate()


def test_slots_are_spread_over_the_gpus_first(machine, holders):
    shared = machine("0,1", MGRAL_GPU_SLOTS="2")
    assert [holders(shared)[1] for _ in range(4)] == ["0", "1", "0", "1"]
    fifth = shared.start("sh", "-c", HOLD)
    assert fifth.stderr.readline() == "lease: waiting for one of 4 slots on GPU 0, 1\n"
    fifth.kill()
    fifth.communicate()


def test_the_gpu_of_a_slurm_job_is_its_own(machine, holders):
    """Numbers start again in each job's container, so that GPU 0 of one job is not that of another."""
    holders(machine("0"))
    code, out, err = machine("0", SLURM_JOB_ID="7").run("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES"')
    assert (code, out, err) == (0, "0\n", "")


def test_the_gpus_of_one_slurm_job_are_shared_out_within_it(machine, holders):
    seven, eight = machine("0,1", SLURM_JOB_ID="7"), machine("0,1", SLURM_JOB_ID="8")
    assert [holders(job)[1] for job in (seven, eight, seven, eight)] == ["0", "0", "1", "1"]


@pytest.mark.parametrize("gpus", [None, "", "-1", "NoDevFiles"])
def test_without_a_gpu_the_command_runs_as_it_is(machine, gpus):
    bare = machine(gpus, PATH="/nowhere")
    code, out, err = bare.run("/bin/sh", "-c", 'echo "${CUDA_VISIBLE_DEVICES-unset}"')
    assert (code, out, err) == (0, ("unset" if gpus is None else gpus) + "\n", "")
    assert not bare.folder.exists()


@pytest.mark.parametrize(("status", "expected"), [(0, ["0", "1"]), (9, ["unset", "unset"])])
def test_the_driver_says_which_gpus_there_are(machine, tmp_path, status, expected):
    """A stand-in for nvidia-smi, with a part of a divided GPU, or without a driver below it (status 9)."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: GPU-a)'\necho '  MIG 1g Device 0: (UUID: MIG-a)'\n"
        f"echo 'GPU 1: A (UUID: GPU-b)'\nexit {status}\n"
    )
    driver.chmod(0o755)
    found = machine(None, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    holding = HOLD.replace("$CUDA_VISIBLE_DEVICES", "${CUDA_VISIBLE_DEVICES-unset}")
    processes = [found.start("sh", "-c", holding) for _ in range(2)]
    assert sorted(process.stdout.readline().strip() for process in processes) == expected
    for process in processes:
        process.communicate()


def test_the_list_of_gpus_ends_where_cuda_stops_reading_it(machine, holders):
    assert holders(machine("2,-1,3"))[1] == "2"
    waiting = machine("2,-1,3").start("true")
    assert "1 slots on GPU 2" in waiting.stderr.readline()
    waiting.kill()
    waiting.communicate()


def test_input_arguments_and_status_are_the_commands(machine):
    code, out, _ = machine("0").run("sh", "-c", 'cat; echo "$1|$2"; exit 3', "name", "a b", "$c", given="input\n")
    assert (code, out) == (3, "input\na b|$c\n")


def test_the_environment_of_mmdet_is_leased_like_the_others(machine, tmp_path, monkeypatch):
    command = tmp_path / ".venv-mmdet/bin/mgral"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES $*"\n')
    command.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code, out, err = machine("5", PATH=path).run(str(SCRIPTS / "mgral-mmdet"), "train", "--seed", "0")
    assert (code, out) == (0, "5 train --seed 0\n"), err


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_wrong_number_of_slots(machine, text):
    code, _, err = machine("0", MGRAL_GPU_SLOTS=text).run("true")
    assert (code, err) == (
        2,
        f"lease: MGRAL_GPU_SLOTS: '{text}' is no number of slots; give a whole number, 1 or more\n",
    )


def test_a_folder_that_cannot_hold_locks(machine, tmp_path):
    (tmp_path / "locks").touch()
    code, _, err = machine("0").run("true")
    assert code == 2
    assert err == f"lease: {tmp_path / 'locks'}: File exists; name another folder for the locks in MGRAL_GPU_LOCKS\n"


def test_no_command_and_an_unknown_one(machine):
    assert machine("0").run()[0] == 2
    code, _, err = machine("0").run("no-such-command")
    assert (code, err) == (127, "lease: no-such-command: No such file or directory\n")


def test_a_lock_that_is_a_link_or_a_pipe_is_refused(machine: Callable[..., Machine], tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    victim = tmp_path / "victim"
    (locks / "0.0").symlink_to(victim)
    status, _, says = machine("0").run("true")
    assert status == 2 and "0.0" in says and not victim.exists()
    (locks / "0.0").unlink()
    os.mkfifo(locks / "0.0")
    status, _, says = machine("0").run("true")
    assert status == 2 and "is not a lock of this user" in says


def test_names_that_are_no_gpus_are_refused(machine: Callable[..., Machine]) -> None:
    for names in ("../../x", "a/b", "0,$(x)"):
        status, _, says = machine(names).run("true")
        assert status == 2 and "is no GPU" in says


def leased() -> ModuleType:
    """The script as a module, for what a machine has once: the folder of the locks that nobody named."""
    spec = importlib.util.spec_from_file_location("lease", SCRIPTS / "lease.py")
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("kind", ["linked", "linked nowhere", "file", "open to all", "open to a group", "another's"])
def test_a_folder_of_locks_that_somebody_else_may_have_prepared(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MGRAL_GPU_LOCKS", raising=False)
    folder, victim = tmp_path / "mgral-gpus-0", tmp_path / "victim"
    victim.mkdir(mode=0o700)
    if kind.startswith("linked"):
        folder.symlink_to(victim if kind == "linked" else tmp_path / "nowhere")
    elif kind == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod({"open to all": 0o777, "open to a group": 0o770}.get(kind, 0o700))
    if kind == "another's":
        if os.getuid():
            pytest.skip("only root gives folders away")
        os.chown(folder, 65534, 65534)
    lease = leased()
    with pytest.raises((SystemExit, FileExistsError)) as caught:  # main says the second in one line
        lease.take(folder, ["0"], "")
    if caught.type is SystemExit:
        assert caught.value.code == 2
        assert "is not a folder of this user alone" in capsys.readouterr().err
    assert not list(victim.iterdir()) and not (tmp_path / "nowhere").exists()


def test_a_folder_of_locks_is_made_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MGRAL_GPU_LOCKS", raising=False)
    lease = leased()
    assert lease.take(tmp_path / "locks", ["3"], "") == "3"
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "locks/3.0").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_lock_of_another_user_is_refused(machine: Callable[..., Machine], tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.0").touch()
    os.chown(tmp_path / "locks/0.0", 65534, 65534)
    status, out, says = machine("0").run("echo", "ran")
    assert (status, out) == (2, "") and "0.0: is not a lock of this user" in says


@pytest.mark.parametrize(
    "names",
    ["GPU-1f2e3d4c-aaaa-bbbb-cccc-0123456789ab", "MIG-1f2e3d4c-aaaa-bbbb-cccc-0123456789ab", "MIG-GPU-1f2e/3/0", "7"],
)
def test_names_that_cuda_takes(names: str, machine: Callable[..., Machine]) -> None:
    """The third is how drivers before 470 named a part of a divided GPU: a slash is in no name of a file."""
    status, out, says = machine(names).run("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES"')
    if "/" in names:
        assert status == 2 and "is no GPU" in says
    else:
        assert (status, out) == (0, f"{names}\n"), says


@pytest.mark.parametrize("job", ["../7", "7/8", "7 8", "$(id)", "x" * 100])
def test_jobs_that_are_no_names_are_refused(job: str, machine: Callable[..., Machine]) -> None:
    status, out, says = machine("0,1", SLURM_JOB_ID=job).run("echo", "ran")
    assert (status, out) == (2, "") and "SLURM_JOB_ID" in says and len(says.splitlines()) == 1
