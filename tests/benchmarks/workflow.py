"""What the workflow itself costs, beside the work of its steps.

python tests/benchmarks/workflow.py                             start, no-op and the graph of an experiment on VOC
python tests/benchmarks/workflow.py --run data/runs/demo        the share of start-up in the processor time of a run

To reach: a no-op within 8 seconds, the graph within 30, a share of at most 0.1. The last line's ``seconds`` is the
graph, or the start-up of all jobs; ``ratio`` is that start-up against the processor time of the run.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from checkouts import Checkout, copy_project

from mgral.report import jobs

VOC = """
experiment: voc
seeds: [0]
cycles: 10
strategies: [random, entropy, mgral]
dataset: {format: voc, root: voc}
proxy: {kind: unlabelled, records: 200, per_job: 8}
"""
ANNOTATIONS = 16_551  # files of VOC2007 and VOC2012 together, train and val
REPEATS = 3  # the quickest counts

# What a job imports until its work begins, by rule; the rest need no more than a data set does.
TRAINING = (
    "import mgral.detection.training, mgral.detection.inference, mgral.detection.average_precision, "
    "mgral.detection.detectors.tiny_ssd.network, torch._dynamo"
)
FITTING = "import faiss, scipy.spatial.distance, scipy.stats, sklearn.gaussian_process, sklearn.linear_model"
IMPORTS = {
    "train": TRAINING,
    "retrain": TRAINING,
    "embed": "import mgral.detection.inference, mgral.detection.detectors.tiny_ssd.network",
    "score": TRAINING,
    "sample_batches": "import mgral.reward.candidate_batches, scipy.stats, sklearn.cluster",
    "proxy": f"{TRAINING}, mgral.reward.proxy, mgral.reward.semi.isd",
    "table": f"{FITTING}; import mgral.reward.lookup_table",
    "search": f"{TRAINING}; {FITTING}; import mgral.agent.reinforce",
    "select": "import mgral.cli.select, mgral.data.importing, mgral.data.selection",
    "noise": "import mgral.report.learning_curves",
    "curve": "import mgral.report.learning_curves",
    "comparison": "import mgral.report.comparison",
    "report": "import mgral.report.sections, matplotlib.pyplot",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a finished run of tiny_ssd, with its logs")
    run = parser.parse_args().run
    if run is None:
        with tempfile.TemporaryDirectory() as folder:
            whole_runs(copy_project(Path(folder) / "project"))
    else:
        share(run)


def whole_runs(project: Checkout) -> None:
    """Time until the first job, of the graph, and of a run that has nothing to do."""
    print("until the first job: {:.1f} s, of a processor {:.1f} s".format(*until_the_first_job(project)), flush=True)
    project.snakemake()
    print("nothing to do: {:.1f} s, of a processor {:.1f} s".format(*quickest(project.snakemake)), flush=True)
    (project.root / "params/voc.yaml").write_text(VOC)
    annotations = project.root / "voc/Annotations"
    annotations.mkdir(parents=True)
    for number in range(ANNOTATIONS):
        (annotations / f"{number:06d}.xml").touch()
    count = project.plan(params="params/voc.yaml").total()
    wall, processor = quickest(lambda: project.snakemake("--dry-run", "--quiet", params="params/voc.yaml"))
    print(f"graph of {count} jobs: {wall:.1f} s, of a processor {processor:.1f} s")
    print(f"seconds={wall:.4g}")


def until_the_first_job(project: Checkout) -> tuple[float, float]:
    """Wall and processor seconds of Snakemake until the first job's command opens its log."""
    log = project.run_folder / "logs/generate/all.log"
    began = time.perf_counter()
    run = project.start()
    while not log.exists():
        if run.poll() is not None:
            raise SystemExit("snakemake ended before its first job")
        time.sleep(0.01)
    wall, used = time.perf_counter() - began, psutil.Process(run.pid).cpu_times()
    os.killpg(run.pid, signal.SIGTERM)
    run.wait()
    return wall, used.user + used.system


def share(run: Path) -> None:
    """The start-up of all jobs of a run against the processor time that they took, by the last lines of their logs."""
    steps: dict[str, list[float]] = {}
    for job in jobs.of_run(run):
        steps.setdefault(job.step, []).append(job.processor)
    total = startup = 0.0
    print("step            jobs  start-up  in all  processor time")
    for step, times in steps.items():
        start = processor_time(IMPORTS.get(step.partition("/")[0], "import mgral.data.importing"))
        print(f"{step:16}{len(times):4}{start:10.2f}{len(times) * start:8.1f}{sum(times):16.1f}", flush=True)
        startup += len(times) * start
        total += sum(times)
    print(f"ratio={startup / total:.2f} seconds={startup:.4g}")


def processor_time(code: str) -> float:
    """User and system seconds of an interpreter that imports and ends."""
    return quickest(lambda: subprocess.run([sys.executable, "-c", code], check=True))[1]


def quickest(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of the quickest of some calls, its child processes included."""
    found = []
    for _ in range(REPEATS):
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        call()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((time.perf_counter() - wall, processor))
    return min(found, key=lambda pair: pair[1])


if __name__ == "__main__":
    main()
