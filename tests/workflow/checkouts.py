"""A copy of the project in which a test runs Snakemake and DVC for real."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nursery import Nursery

ROOT = Path(__file__).resolve().parents[2]
TINY = "params/tiny.yaml"
FOUNDATION = "params/tiny_foundation.yaml"


@dataclass(frozen=True)
class Checkout:
    """A copy of the project.

    Attributes:
        root: its folder.
        nursery: forks its commands, as long as its code is that of the checkout; without one they start plainly.
    """

    root: Path
    nursery: Nursery | None = None

    @property
    def run_folder(self) -> Path:
        """Where the run of params/tiny.yaml puts its files."""
        return self.root / "data" / "runs" / "tiny"

    @property
    def environment(self) -> dict[str, str]:
        """Commands of the environment that runs the tests, and the package of this copy."""
        folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
        if self.nursery and self.nursery.has_loaded(self.root / "src"):
            folders.insert(0, str(self.nursery.commands))
        environment = {**os.environ, "PATH": os.pathsep.join(folders), "PYTHONPATH": str(self.root / "src")}
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": f"{who}@example.org", f"GIT_{who}_EMAIL": f"{who}@example.org"}
        return environment | {"DVC_NO_ANALYTICS": "1"}

    def call(self, *command: str, fails: bool = False) -> str:
        """Run a command in the copy. Returns what it printed, on both streams; checks the way it ended."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        text = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, text[-5000:]
        return text

    def snakemake(self, *arguments: str, cores: int = 2, params: str = TINY, fails: bool = False) -> str:
        return self.call("snakemake", "--cores", str(cores), "--configfile", params, *arguments, fails=fails)

    def start(self) -> subprocess.Popen[bytes]:
        """A run of params/tiny.yaml on two cores, as the leader of a process group of its own."""
        return subprocess.Popen(
            ["snakemake", "--cores", "2", "--configfile", TINY],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill_run(
        self, reached: Callable[[], bool], delay: float = 0.0, hurry: Callable[[], bool] = lambda: False
    ) -> None:
        """Start a run and kill it with its jobs, ``delay`` seconds after a condition has come true.

        Once ``hurry`` is true, the kill comes at once. The run must not have ended by then.
        """
        run = self.start()
        try:
            deadline = time.monotonic() + 900  # seconds
            while not reached():
                assert run.poll() is None, "the run ended before it was to be killed"
                assert time.monotonic() < deadline, "it did not come to where it was to be killed"
                time.sleep(0.02)
            end = time.monotonic() + delay
            while time.monotonic() < end and not hurry():
                time.sleep(0.02)
            assert run.poll() is None, "the run ended before it was killed"
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            if self.nursery:
                self.nursery.wait()

    def plan(self, *targets: str, params: str = TINY) -> Counter[str]:
        """How many jobs of each rule Snakemake would run; chunks of proxies count as one rule."""
        text = self.snakemake("--dry-run", "--", *targets, params=params)
        if "Nothing to be done" in text:
            return Counter()
        return job_stats(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands once in a file."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name}: '{old}' stands {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def files(self, pattern: str) -> dict[str, bytes]:
        """Contents of the run's files by path below its folder."""
        found = sorted(self.run_folder.glob(pattern))
        return {str(path.relative_to(self.run_folder)): path.read_bytes() for path in found if path.is_file()}

    def git_commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message", "state")


def job_stats(text: str) -> Counter[str]:
    """The jobs of each rule that a dry run has counted; chunks of proxies count as one rule."""
    table = text.split("Job stats:")[1].split("total")[0]
    jobs: Counter[str] = Counter()
    for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE):
        jobs[re.sub(r"^(proxy\w*)_\d+$", r"\1", rule)] += int(count)
    return jobs


def copy_project(to: Path, nursery: Nursery | None = None) -> Checkout:
    """The files that git has or would take in, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():  # git also lists what was deleted and not yet committed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    copy = Checkout(to, nursery)
    copy.call("git", "init", "--quiet", "--initial-branch", "main")
    return copy


def duplicate(checkout: Checkout, to: Path) -> Checkout:
    shutil.copytree(checkout.root, to, symlinks=True)
    return replace(checkout, root=to)
