"""Where the files of a run lie: every path below ``data/`` that the workflow makes, in one place.

The rules, the report, the forecast and DVC's template use these names and write none of their own. Paths are texts
with ``/``, so that a rule may put a wildcard (``{seed}``) where a reader has a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

SHARED = "shared"  # in the place of a strategy: what is computed once for all of them, in cycle 0

# A cycle holds one folder for each round, kind and replay split of records. {part} in a rule is one of these, and
# {split} in SPLIT what the folder of a replay split ends in: nothing, -2, -3, …
FIRST, REPLAY, SECOND = "", "replay/", "second_round/"
SPLIT = "replay{split}/"

_REPLAY = re.compile(rf"(?:{SECOND})?replay(?:-(\d+))?/")


def replay(split: int) -> str:
    """The folder of a replay split; they are counted from 1."""
    return SPLIT.format(split="" if split == 1 else f"-{split}")


def parts(splits: int) -> list[str]:
    """Every part of a cycle with so many replay splits."""
    first = [FIRST, *(replay(split) for split in range(1, splits + 1))]
    return [*first, *(f"{SECOND}{part}" for part in first)]


def kind_of(part: str) -> str:
    """The kind of the records of a part: ``replay`` or ``unlabelled``."""
    return "replay" if _REPLAY.fullmatch(part) else "unlabelled"


def split_of(part: str) -> int:
    """The number of the replay split of a part; 1 for unlabelled ones."""
    match = _REPLAY.fullmatch(part)
    return int(match[1] or 1) if match else 1


def part_in_words(part: str) -> str:
    """A part as a message names it: nothing for the first, ``", second round, replay"`` for the last."""
    return "".join(f", {folder.replace('_', ' ')}" for folder in part.split("/") if folder)


# Files of a lookup table, in its folder.
TABLE, RECORDS, INDEX, AUDIT, PRICE = "table", "records.parquet", "index.faiss", "audit.json", "price.npz"

# Folders of records: those of the table, and for its audit those without an unsupervised term and of one batch again.
PROXIES, CONTROL, REPEATS = "proxies", "control", "repeats"

_CYCLE = re.compile(r"(?P<strategy>[^/]+)/seed-(?P<seed>\d+)/cycle-(?P<cycle>\d+)")


@dataclass(frozen=True)
class _Files:
    """Names of files; relative to their folder until :meth:`below` puts a prefix before them."""

    def below(self, prefix: str) -> Self:
        """The same files with ``prefix`` before each; a folder ends in a slash."""
        return type(self)(**{field.name: prefix + getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True)
class CycleFiles(_Files):
    """Files of one cycle of one strategy and seed, or of one part of it; which step makes them: docs/caching.md."""

    pool: str = "pool.json"
    detector: str = "detector.safetensors"
    training: str = "train.csv"
    metrics: str = "metrics.json"
    own: str = "own.json"
    embeddings: str = "embeddings.npz"
    detections: str = "detections.npz"
    image_scores: str = "image_scores.npz"
    backbone_features: str = "backbone_features.npy"
    hint: str = "hint.json"
    batches: str = "batches.json"
    records: str = f"{TABLE}/{RECORDS}"
    index: str = f"{TABLE}/{INDEX}"
    audit: str = f"{TABLE}/{AUDIT}"
    price: str = f"{TABLE}/{PRICE}"
    agent: str = "agent.safetensors"
    search: str = "search.csv"
    added: str = "added.json"
    selected: str = "selected.json"
    manifest: str = "batch/manifest.json"
    labels: str = "labels.json"
    dataset: str = "dataset.json"
    prices: str = "prices.json"


@dataclass(frozen=True)
class RunFiles(_Files):
    """Files and folders of a run outside its cycles."""

    dataset_folder: str = "dataset"
    dataset: str = "dataset/dataset.json"
    images: str = "dataset/images.npy"
    foundation: str = "dataset/foundation.npz"
    retrained: str = "noise"
    noise: str = "noise.json"
    probe: str = "probe.json"
    parts: str = "stopping"
    stopping: str = "stopping.json"
    curve: str = "curve.csv"
    summary: str = "summary.json"
    comparison: str = "comparison.json"
    report: str = "report.html"
    figures: str = "figures"
    logs: str = "logs"


CYCLE = CycleFiles()
RUN = RunFiles()

# Of the steps that strategies share in cycle 0: what is copied to each strategy, by the rule share_<key>. For the agent
# it is more, see :meth:`mgral.planning.run_plan.RunPlan.shared`.
OF_DETECTOR = [CYCLE.pool, CYCLE.detector, CYCLE.metrics, CYCLE.training]
OF_EVIDENCE = [CYCLE.embeddings, CYCLE.detections]
OF_HELD_OUT = [CYCLE.embeddings, CYCLE.detections, CYCLE.hint]  # in the folder of each replay split
OF_TABLE = [CYCLE.records, CYCLE.index, CYCLE.audit]
OF_SEARCH = [CYCLE.agent, CYCLE.search, CYCLE.added]
CARRIED = [CYCLE.records, CYCLE.added]  # what the table of a later cycle takes from an earlier one


def run_folder(experiment: str) -> str:
    """The folder of all that the workflow makes for an experiment."""
    return f"data/runs/{experiment}"


def raw_folder(experiment: str) -> str:
    """The folder of a generated data set."""
    return f"data/raw/{experiment}"


def annotations_folder(experiment: str) -> str:
    """The folder of what people said: registered images, and a folder of answers for each cycle."""
    return f"data/annotations/{experiment}"


def register(annotations: str | Path) -> str:
    """The registered images, in the folder of annotations."""
    return f"{annotations}/images.json"


def answers_folder(annotations: str | Path, cycle: int | str) -> str:
    """What people returned for the batch of a cycle, in the folder of annotations."""
    return f"{annotations}/cycle-{cycle}"


def cycle_folder(
    run: str | Path,
    strategy: str = "{strategy}",
    seed: int | str = "{seed}",
    cycle: int | str = "{cycle}",
) -> str:
    """The folder of one cycle of a strategy and seed; with wildcards where nothing is given."""
    return f"{run}/{strategy}/seed-{seed}/cycle-{cycle}"


def cycle_of(folder: Path) -> tuple[str, int, int] | None:
    """Strategy, seed and cycle of the folder of a cycle; None for any other folder."""
    match = _CYCLE.fullmatch("/".join(folder.parts[-3:]))
    return (match["strategy"], int(match["seed"]), int(match["cycle"])) if match else None


def record(name: str, number: int | str = "*") -> str:
    """The file of a record below its part of a cycle.

    Args:
        name: :data:`PROXIES`, :data:`CONTROL` or :data:`REPEATS`.
        number: of the batch, or of the repetition.
    """
    return f"{name}/{number}.json"


def retrained(repeat: int | str = "{repeat}") -> str:
    """The folder, below that of the run, of one training for the retraining variance."""
    return f"{RUN.retrained}/repeat-{repeat}"


def part_of_pool(number: int | str = "{number}") -> str:
    """The folder, below that of the run, of one training on a part of the labelled pool."""
    return f"{RUN.parts}/part-{number}"


def log(run: str | Path, step: str, job: str) -> str:
    """The log of a job; ``step`` is its rule, ``job`` its part (if any) and its name."""
    return f"{run}/{RUN.logs}/{step}/{job}.log"


def logs(run: Path) -> list[tuple[str, str, Path]]:
    """Step, name and path of every log of a run, sorted by path.

    The step is the rule, with the part of the cycle where it has one: ``train``, ``train/replay``.
    """
    folder = run / RUN.logs
    paths = sorted(folder.glob("*/**/*.log"))
    return [(path.parent.relative_to(folder).as_posix(), path.stem, path) for path in paths]
