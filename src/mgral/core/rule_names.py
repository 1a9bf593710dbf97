"""The rules of the workflow, for the forecast and the job table, which read Snakemake's graph and logs."""

from __future__ import annotations

import re

# In the order of the work, with the verb that each runs; None: it copies files, or is a target. A test compares this
# table with the rules themselves.
RULES: dict[str, str | None] = {
    "generate": "generate",
    "import_data": "import",
    "cache": "cache",
    "foundation_features": "foundation-features",
    "pool": "pool",
    "export": "export",
    "labels": "labels",
    "annotate": "annotate",
    "train": "train",
    "embed": "embed",
    "embed_replay": "embed",
    "replay_split": "replay-split",
    "sample_batches": "sample-batches",
    "backbone_features": "backbone-features",
    "proxy": "proxy",  # one rule for each chunk: proxy_0, proxy_replay_4, proxy_replay_2_0 (of split 2), …
    "table": "table",
    "search": "search",
    "score": "score",
    "score_own": "score",
    "select": "select",
    "prices": "prices",
    "share_detector": None,
    "share_evidence": None,
    "share_held_out": None,
    "share_agent": None,
    "retrain": "train",
    "noise": "noise",
    "subset": "subset",
    "train_subset": "train",
    "stopping": "stopping",
    "curve": "curve",
    "comparison": "compare",
    "report": "report",
    "all": None,
    "compare": None,
    "next": None,
    "probe": "probe",
    "forecast": "forecast",
    "track": None,
}

TEMPLATES = ("step", "step_of_detector")  # that rules are made from, with no jobs of their own
TARGETS = ("all", "compare", "next")
COPIES = ("share_detector", "share_evidence", "share_held_out", "share_agent")

_CHUNK = re.compile(r"proxy(?:_[a-z]+)*(?:_\d+){1,2}")


def rule_of(name: str) -> str:
    """The entry of :data:`RULES` for a rule: ``proxy`` for a chunk of proxies, any other as it is."""
    return "proxy" if _CHUNK.fullmatch(name) else name
