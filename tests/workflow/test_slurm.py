"""A run through a real Slurm of one node: its daemons, munge, and two devices that stand for GPUs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkouts import TINY, Checkout

pytestmark = pytest.mark.slow

CONFIGURATION = Path("/etc/slurm/slurm.conf")  # the only place where srun looks inside a job of Snakemake's
GRES = CONFIGURATION.with_name("gres.conf")
MARK = "# mgral's test"

# No accounting, no cgroups, and ports that are not Slurm's usual ones. The node says that it has what the profile asks
# for: memory is not counted.
SETTINGS = """{mark}
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=46817
SlurmdPort=46818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
MinJobAge=3600
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""

# Snakemake, which looks at its jobs each second: the plug-in waits ten seconds more each time that no job has ended.
SNAKEMAKE = """
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(lambda _: 1, lambda *_: None)
main()
"""

SELECTED = [f"{strategy}/seed-0/cycle-0/selected.json" for strategy in ("random", "mgral")]
HOLD_A_DETECTOR = {"train", "embed", "proxy", "search"}
LAST = "mgral/seed-0/cycle-1/metrics.json"


def reason_to_skip() -> str | None:
    """Why no Slurm can be started here; None if one can."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is absent; apt-get install -y --no-install-recommends slurm-wlm munge"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is absent; make env-slurm"
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(MARK):
        return f"this machine has a Slurm of its own: {CONFIGURATION}"
    return None


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm of one node, two processors and two GPUs. Afterwards no process and no file of it is left."""
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)  # munged wants a socket that all users can reach
    for name in ("state", "spool"):
        (folder / name).mkdir()
    for gpu in range(2):
        os.mknod(folder / f"gpu{gpu}", 0o600 | 0o020000, os.makedev(1, 3 + 2 * gpu))  # /dev/null and /dev/zero
    host = socket.gethostname().split(".")[0]
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        log = (folder / f"{command[0]}.out").open("wb")
        daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    CONFIGURATION.parent.mkdir(exist_ok=True)
    try:
        CONFIGURATION.write_text(SETTINGS.format(mark=MARK, host=host, folder=folder))
        GRES.write_text(f"{MARK}\nNodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder}/munge.{suffix}" for option, suffix in places.items()]
        start("munged", "--foreground", "--force", *options)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        wait_for(lambda: "idle" in ask("sinfo", "--noheader", "--format=%T"), "the node is not ready", folder)
        yield
    finally:
        ask("scancel", "--signal=KILL", "--full", "--user=root")
        ask("scancel", "--user=root")
        deadline = time.monotonic() + 30
        while ask("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.5)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)
        CONFIGURATION.unlink(missing_ok=True)
        GRES.unlink(missing_ok=True)


@pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))
def test_a_run_on_slurm_gives_the_same_bytes_though_a_job_was_killed(
    slurm, plain_project: Checkout, request: pytest.FixtureRequest
):
    """One of the proxy jobs is killed, with all that runs in it, as by a node that fails; it is submitted again."""
    targets = [str((plain_project.run_folder / name).relative_to(plain_project.root)) for name in [*SELECTED, LAST]]
    profile = ["--profile", "profiles/slurm", "--resources", "gpu=2", "--slurm-status-command", "squeue"]
    quicker = ["--slurm-init-seconds-before-status-checks", "1"]
    plain_project.edit(TINY, "per_job: 2", "per_job: 4")
    run = subprocess.Popen(
        [sys.executable, "-c", SNAKEMAKE, *profile, *quicker, "--configfile", TINY, "--", *targets],
        cwd=plain_project.root,
        env=plain_project.environment,
        stdin=subprocess.DEVNULL,
        stdout=(plain_project.root / "run.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    killed, seen = "", []
    deadline = time.monotonic() + 1200
    try:
        while run.poll() is None:
            seen.append(list(detectors(plain_project.root).values()))
            if not killed and "proxy" in {verb for verb, _ in seen[-1]}:
                killed = next(number for number, state, name in jobs() if state == "RUNNING" and name == "proxy")
                ask("scancel", "--signal=KILL", "--full", killed)
            assert time.monotonic() < deadline, "the run has not ended in twenty minutes"
            time.sleep(0.1)
    finally:
        run.kill()
        run.wait()
    log = (plain_project.root / "run.log").read_text()
    assert run.returncode == 0, log[-5000:]

    # profiles/slurm: chains of small steps as one job. tiny.yaml: the detectors of cycle 0, shared, and of mgral's
    # cycle 1; seven proxies, four a job; two strategies that select. One ran twice.
    ended = jobs()
    assert Counter(name for _, _, name in ended) == {
        "dataset": 1,
        "train": 2,
        "embed": 1,
        "sample_batches": 1,
        "proxy": 2 + 1,
        "agent": 1,
        "select": 2,
    }
    assert [number for number, state, _ in ended if state != "COMPLETED"] == [killed]
    assert f"SLURM jobid {killed} " in log

    # what holds a detector has one GPU of the two, and no two of them the same at one time
    gpus = [[gpu for _, gpu in holders] for holders in seen]
    assert {verb for holders in seen for verb, _ in holders} == HOLD_A_DETECTOR
    assert {gpu for snapshot in gpus for gpu in snapshot} <= {"0", "1"}
    assert [holders for holders, used in zip(seen, gpus, strict=True) if len(set(used)) < len(used)] == []

    alike = [*SELECTED, LAST, LAST.replace("metrics.json", "detector.safetensors")]
    finished: Checkout = request.getfixturevalue("finished")  # asked for late: the other process may be making it
    on_slurm, local = plain_project.files("*/seed-0/cycle-*/*"), finished.files("*/seed-0/cycle-*/*")
    assert {name: on_slurm[name] for name in alike} == {name: local[name] for name in alike}
    assert plain_project.plan(*targets) == {}


def ask(*command: str) -> str:
    """What a command of Slurm's prints; nothing if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def jobs() -> list[tuple[str, str, str]]:
    """All jobs since Slurm was started: number, state, and the rule or group, chunks of proxies as ``proxy``."""
    lines = ask("squeue", "--noheader", "--states=all", "--format=%i %T %k").splitlines()
    return [
        (number, state, re.sub(r"^rule_([a-z]+(?:_batches)?).*", r"\1", comment))
        for number, state, comment in (line.split(maxsplit=2) for line in lines)
    ]


def wait_for(condition: Callable[[], bool], failure: str, folder: Path) -> None:
    """Wait for half a minute at most; then show what the daemons logged."""
    deadline = time.monotonic() + 30
    while not condition():
        logs = [f"{path.name}: {path.read_text()[-1500:]}" for path in [*folder.glob("*.log"), *folder.glob("*.out")]]
        assert time.monotonic() < deadline, "\n".join([failure, *logs])
        time.sleep(0.2)


def detectors(root: Path) -> dict[str, tuple[str, str]]:
    """Processes that hold a detector of the run in ``root``: the verb and the GPUs that CUDA may see, by number.

    Without their children: until it executes another program, a fork has the command line of its parent.
    """
    found, parents = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if not (len(words) > 2 and words[1].endswith("/mgral") and words[2] in HOLD_A_DETECTOR):
                continue
            parents[process.name] = (process / "stat").read_text().rpartition(")")[2].split()[1]
            variables = (process / "environ").read_bytes().decode().split("\0")
            if (process / "cwd").resolve() != root.resolve():
                continue
        except OSError:  # it has ended
            continue
        gpu = next((text.partition("=")[2] for text in variables if text.startswith("CUDA_VISIBLE_DEVICES=")), "none")
        found[process.name] = (words[2], gpu)
    return {number: held for number, held in found.items() if parents[number] not in found}
