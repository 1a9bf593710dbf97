"""Random numbers: every stream is named by what it is for, so none depends on another's history."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*names: int | str) -> int:
    """A 63-bit seed from a path of names, e.g. ``stream(seed, "augment", step)``.

    The same names give the same seed on every machine, and neighbouring names give unrelated seeds; a job
    that resumes at step t therefore needs no stored generator state.
    """
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*names: int | str) -> np.random.Generator:
    """A NumPy generator seeded by :func:`stream`."""
    return np.random.default_rng(stream(*names))
