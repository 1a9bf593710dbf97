"""Which proxies a cycle trains, and which of them share a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mgral import generators
from mgral.params import Proxy


@dataclass(frozen=True)
class Proxies:
    """Proxies of one draw of batches; paths are relative to the cycle's folder.

    Attributes:
        folder: of ``batches.json``; a path that ends in a slash, or empty.
        kind: of their records.
        second: whether the batches are a second round, drawn by an agent.
        names: of the records below ``folder``, without ``.json``: ``mgral proxy`` tells by them what to train.
        rivals: records of the random batches of the first round, against which others race (``proxy.stop_at``).
    """

    folder: str
    kind: str
    second: bool
    names: list[str]
    rivals: list[str]

    @property
    def rule(self) -> str:
        """``proxy``, ``proxy_scout_replay`` …"""
        return "_".join(["proxy", *Path(self.folder).parts])

    def jobs(self, params: Proxy) -> Iterator[tuple[int, list[str], list[str]]]:
        """Of each job: the number of proxies in those before it, its names, and the rivals if these race.

        Where hopeless proxies are stopped, jobs of what is never stopped come first; random batches are among it.
        """
        racing = {n for n in self.names if n.startswith("proxies/") and f"{self.folder}{n}.json" not in self.rivals}
        if not params.stop_at:
            racing = set()
        position = 0
        for raced in (False, True):
            names = [name for name in self.names if (name in racing) == raced]
            for some in (names[k : k + params.per_job] for k in range(0, len(names), params.per_job)):
                yield position, some, self.rivals if raced else []
                position += len(some)


def proxies(params: Proxy) -> list[Proxies]:
    """All proxies of a cycle, those of an agent's round after those it is trained on."""
    found = []
    for kind in params.kinds:
        folder = "replay/" if kind == "replay" else ""
        first, second = ([f"proxies/{k}" for k in range(count)] for count in params.rounds(kind))
        # Random batches are drawn before all others
        random = generators.allot(len(first), params.first_shares)["random"]
        rivals = [f"{folder}{name}.json" for name in first[:random]]
        if kind == "unlabelled":
            first += [f"control/{k}" for k in range(params.control)]
        first += [f"repeats/{k}" for k in range(1, params.repeats + 1)]
        found += [Proxies(folder, kind, False, first, rivals), Proxies(f"scout/{folder}", kind, True, second, rivals)]
    return [some for some in found if some.names]
