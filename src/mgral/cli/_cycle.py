"""What the verbs open that look at the images of a cycle. They import it when they run, since it loads torch."""

from __future__ import annotations

import argparse

from mgral import compute, datasets, pools
from mgral.compute import Compute
from mgral.images import Cache
from mgral.params import Machine
from mgral.pools import Pool
from mgral.types import Dataset


def open_files(arguments: argparse.Namespace, machine: Machine) -> tuple[Compute, Dataset, Pool, Cache]:
    """The device, and what ``--dataset``, ``--pool`` and ``--images`` name.

    Raises:
        MgralError: a GPU is asked for and there is none; a file is missing, damaged or of another data set.
    """
    chosen = compute.prepare(machine)
    dataset = datasets.read(arguments.dataset)
    return chosen, dataset, pools.read(arguments.pool, dataset), Cache(dataset, arguments.images)
