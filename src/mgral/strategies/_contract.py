"""The contract of a strategy: the rule that picks the batch, one file or folder each.

A strategy is a module with

- ``NEEDS``: which parts of the :class:`Evidence` it uses, any of ``detections``, ``embeddings``, ``agent``,
  ``image_scores``, ``competence``, ``held_out``, ``patterns``, ``labels``, ``truth``. The workflow computes these only
  and passes no others;
- ``Options``: its parameters (:class:`mgral.config.base.Settings`), with defaults and explanations;
- ``REASONS``: every term that can appear in the reason of a pick, each with one line that explains it to people;
- ``select(evidence, budget, seed, options)``: a list of :class:`mgral.core.types.Pick`, best first: ``budget``
  different unlabelled ids, or all of them if fewer are left. The result does not depend on the order in which the pool
  is listed, equal scores go to the smaller id, and only ``seed`` makes it random. What is missing is reported by the
  methods of :class:`Evidence`.

A strategy that compares detections by their features also has

- ``USES_FEATURES = True``. A detector without features (``command``) is then refused when parameters are checked.

One that looks at a detector's priors (:class:`mgral.detection.priors.PriorDetector`) also has

- ``USES_PRIORS = True``. Detectors without priors are then refused when parameters are checked.

A strategy that reads the class probabilities of detections also has

- ``USES_PROBABILITIES = True``. Where no strategy of an experiment has it, they are not kept on disk.

A strategy that is a control, not a contender, also has

- ``CONTROL``: a few words that say what it controls for. A strategy that needs the ``truth`` is a control without it.

A strategy that runs or trains a network of its own does so in an earlier step, and needs the ``image_scores`` that this
step writes. It also has

- ``score(context, seed, options)``: an :class:`mgral.core.types.ImageScores` of the unlabelled images, computed with a
  :class:`mgral.strategies._context.StrategyContext`. What it trains is used for the scores only;
- ``TERMS``: the names of the image scores' arrays, each with the axes that follow the axis of images: ``()`` for a
  number, ``("class",)`` for a number per class.

A strategy that trains a detector of its own, whose mAP a paper reports, can show that mAP beside the plain one. It also
has

- ``reports_own(options)``: whether the options ask for it. The workflow then scores in every cycle, the last included;
- ``score_and_detect(context, seed, options)``: the same image scores, and a function that runs this detector on any
  images (:data:`mgral.core.types.Detect`). Unlike ``score`` it trains even if no image is left unlabelled.

A strategy that runs others, which its options name, also has

- ``uses(options)``: the names of these, so that an edit of one of them runs the selection again.

The workflow loads every strategy to read this contract, so heavy modules (torch) are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mgral.config.base import Settings
from mgral.config.schema import Strategy
from mgral.core import plugins
from mgral.core.errors import MgralError, nearest
from mgral.core.types import Activation, Detections, Doubles, ImageScores, Ints, Pick
from mgral.data.evidence import Evidence

# Needs that are read from a file of their own.
IN_FILES = frozenset({"detections", "embeddings", "agent", "image_scores", "competence", "held_out", "patterns"})


Terms = Mapping[str, tuple[str, ...]]
Reasons = Mapping[str, str]


def scores_of(evidence: Evidence, strategy: str, terms: Terms) -> dict[str, Doubles]:
    """The terms of a strategy's image_scores, for its unlabelled images in ascending order of id.

    Args:
        evidence: with an ``image_scores``.
        strategy: its name, for messages.
        terms: its ``TERMS``.

    Returns:
        [n, …] float64 by name.

    Raises:
        MgralError: no image scores, one of another strategy, or an image that it leaves out.
    """
    remedy = "run `mgral score` again for image_scores.npz"
    image_scores = evidence.image_scores_for(f"strategy {strategy}")
    rows = _rows(image_scores, sorted(evidence.pool.unlabelled), remedy)
    found = {}
    for name, axes in terms.items():
        if name not in image_scores.terms:
            raise MgralError(f"strategy {strategy}: the image scores have no array '{name}'; {remedy}")
        term = image_scores.terms[name]
        if term.shape[1:] != tuple({"class": len(evidence.classes)}[axis] for axis in axes):
            raise MgralError(f"strategy {strategy}: the image scores' '{name}' has shape {term.shape}; {remedy}")
        found[name] = term[rows]
    return found


def _rows(image_scores: ImageScores, ids: Sequence[int], remedy: str) -> Ints:
    row = {image: k for k, image in enumerate(image_scores.ids.tolist())}
    missing = [image for image in ids if image not in row]
    if missing:
        raise MgralError(f"image {missing[0]} has no row in the image scores; {remedy}")
    return np.array([row[image] for image in ids], np.int64)


def select(
    strategy: str, evidence: Evidence, budget: int, seed: int = 0, options: Mapping[str, Any] | None = None
) -> list[Pick]:
    """The next batch of a strategy: the way in from Python.

    Args:
        strategy: its name, as ``mgral list strategies`` prints it.
        evidence: what the strategy needs, see its ``NEEDS``; its pool says which images are unlabelled.
        budget: images wanted; at least 1.
        seed: 0 or more; it matters to strategies with randomness only.
        options: of the strategy; what is left out has its default.

    Returns:
        ``budget`` picks, best first, or one for each unlabelled image if there are fewer. The same arguments give the
        same picks.

    Raises:
        MgralError: unknown strategy or option, evidence that the strategy needs and does not get, or detections that
            are no arrays or do not fit the classes.
    """
    plugin = plugins.load("strategies", strategy)
    if budget < 1:
        raise MgralError(f"budget: {budget} images; ask for 1 or more")
    parsed = plugin.Options.parse(dict(options or {}), f"options of {strategy}")
    if evidence.detections:
        _require_arrays(evidence.detections, len(evidence.classes), evidence.activation)
    picks: list[Pick] = plugin.select(evidence, budget, seed, parsed)
    return picks


def _require_arrays(detections: Mapping[int, Detections], classes: int, activation: Activation | None) -> None:
    """Refuse detections of another form than strategies compute with.

    Args:
        detections: by image.
        classes: how many there are.
        activation: whether probabilities are softmax, with one more for the background, or sigmoid.

    Raises:
        MgralError: no arrays, or arrays whose shapes do not belong together; names the image.
    """
    wide = classes + (activation == "softmax")
    for image, one in detections.items():
        parts: dict[str, Any] = {"xyxy": one.xyxy, "scores": one.scores, "labels": one.labels, "probs": one.probs}
        for name, values in parts.items():
            if not isinstance(values, np.ndarray):
                raise MgralError(f"image {image}: its {name} are no NumPy array; make one of them with numpy.array")
        n = len(one.labels)
        shapes = [one.xyxy.shape == (n, 4), one.scores.shape == one.labels.shape == (n,), one.probs.ndim == 2]
        if not all(shapes) or len(one.probs) != n or one.probs.shape[1] not in {0, wide}:
            found = ", ".join(f"{name} {list(values.shape)}" for name, values in parts.items())
            raise MgralError(
                f"image {image}: {found}; give xyxy [n, 4], scores [n], labels [n] and probs [n, {wide}], for "
                f"{classes} classes and {activation or 'sigmoid'}"
            )


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


def plugins_of(strategy: Strategy) -> list[str]:
    """Names of a strategy's plug-in and of those that it runs.

    Raises:
        MgralError: unknown plug-in or option.
    """
    plugin = plugins.load("strategies", strategy.plugin)
    if not hasattr(plugin, "uses"):
        return [strategy.plugin]
    options = plugin.Options.parse(strategy.options, f"strategies ({strategy.name}): options")
    return [strategy.plugin, *plugin.uses(options)]


def kept_for(strategy: Strategy) -> frozenset[str]:
    """What of detections a strategy reads beside boxes, scores and classes; see ``mgral embed --keep``."""
    used = [plugins.load("strategies", name) for name in plugins_of(strategy)]
    marks = {"probabilities": "USES_PROBABILITIES", "features": "USES_FEATURES"}
    return frozenset(what for what, mark in marks.items() if any(getattr(one, mark, False) for one in used))


def modules_of(strategy: Strategy) -> list[str]:
    """Dotted names of a strategy's module and of those that it runs, for the hash of the code behind its selection.

    Raises:
        MgralError: unknown plug-in or option.
    """
    return [f"mgral.strategies.{name}" for name in plugins_of(strategy)]
