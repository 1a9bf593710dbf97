"""The strategy of a label, for the verbs that run one."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from mgral import plugins
from mgral.errors import MgralError, nearest
from mgral.params import Strategy
from mgral.settings import Settings


def find(strategies: Iterable[Strategy], label: str) -> tuple[Strategy, ModuleType, Settings]:
    """A strategy, its plug-in and that plug-in's options.

    Raises:
        MgralError: unknown label, plug-in or option.
    """
    labelled = {strategy.name: strategy for strategy in strategies}
    if label not in labelled:
        raise MgralError(f"--strategy: unknown label '{label}'; {nearest(label, labelled)}")
    strategy = labelled[label]
    plugin = plugins.load("strategies", strategy.plugin)
    return strategy, plugin, plugin.Options.parse(strategy.options, f"strategies ({label}): options")
