"""Detectors behind one contract: raw outputs with full class probabilities, losses, predictions, embedding.

A detector is a module or a package in :mod:`.detectors` with

- ``Options``: its parameters (:class:`mgral.config.base.Settings`), with defaults and explanations;
- ``activation(options)``: how its logits become probabilities, said before anything is built, so that what does not
  go together is refused when parameters are checked; None where only the built detector can tell;
- ``PRIORS = False``, unless it is a :class:`mgral.detection.priors.PriorDetector`: what compares objects with priors
  is then refused when parameters are checked;
- ``build(classes, image_size, options)``: a :class:`Detector`. Initial weights come from the options or from torch's
  generator, which :func:`build_detector` here seeds and restores.

Snakemake loads it at each start, to check its options. So torch is imported in ``build`` alone, and the network has a
module of its own, as in ``detectors/retinanet/network.py``; tests/contract/test_start.py holds that.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, roi_align

from mgral.config.schema import DetectorParams
from mgral.core import plugins, random_streams
from mgral.core.errors import MgralError
from mgral.core.files import write_bytes
from mgral.core.types import FEATURE_DIM, Activation, Floats
from mgral.detection.padding import mean_within

log = logging.getLogger(__name__)

EMBEDDING_DIM = 256  # of an image
SAMPLES = 4  # a side: points at which the map is read inside a box
COUNTER = "num_batches_tracked"  # of a batch norm: a buffer that no forward pass reads
CANDIDATES = 400  # (box, class) pairs of an image that enter the suppression, as in torchvision's SSD


class RawOutput:
    """What the network says of a batch, before any threshold. Each kind of detector has its own, a frozen dataclass.

    Its fields are tensors, or lists of tensors, whose first axis is that of the images.

    Attributes:
        features: the maps the head looks at, finest first, each [B, C_l, H_l, W_l].
    """

    features: list[Tensor]

    def finest(self, wanted: bool) -> Sequence[Tensor | None]:
        """The finest map of each image, [C, H, W], or so many times None where it is not wanted."""
        maps = self.features[0]
        return list(maps) if wanted else [None] * len(maps)

    def of_image(self, index: int) -> Self:
        """What it says of one image of the batch, as a batch of one."""
        rows = slice(index, index + 1)
        own = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        parts = {
            key: [one[rows] for one in part] if isinstance(part, list) else part[rows] for key, part in own.items()
        }
        return type(self)(**parts)


@dataclass(frozen=True)
class Target:
    """Ground truth of one image for training.

    Attributes:
        xyxy: [n, 4] float32, pixels of the input, 0 <= x1 < x2 <= size.
        labels: [n] int64, 0 … C-1.
    """

    xyxy: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Prediction:
    """Detections of one image in pixels of the input, best score first; fields as in mgral.core.types.Detections."""

    xyxy: Tensor
    scores: Tensor
    labels: Tensor
    probs: Tensor
    features: Tensor | None


class Detector(nn.Module):
    """What every detector has.

    A subclass implements :meth:`maps`, :meth:`answer`, :meth:`losses` and :meth:`predict`, and has a ``head``; the rest
    is its backbone. One with priors derives from :class:`mgral.detection.priors.PriorDetector`.

    Attributes:
        head: the layers between the maps and the raw outputs.
        activation: how logits become probabilities.
        num_classes: C, without background.
        image_size: side of the square input, pixels.
        shapes: (C_l, H_l, W_l) of the maps the head looks at, finest first.
    """

    activation: Activation
    head: nn.Module
    projection: Tensor
    feature_projection: Tensor

    def __init__(self, num_classes: int, image_size: int, maps: Sequence[Tensor]) -> None:
        """Take the maps of one image, [1, C_l, H_l, W_l] each."""
        super().__init__()
        self._frozen = False
        self.num_classes = num_classes
        self.image_size = image_size
        self.shapes = [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]
        widths = [channels for channels, _, _ in self.shapes]
        embedding = _projection("embedding projection", sum(widths), EMBEDDING_DIM)
        self.register_buffer("projection", embedding, persistent=False)
        features = _projection("feature projection", widths[0], FEATURE_DIM)
        self.register_buffer("feature_projection", features, persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, size, size], RGB in 0..1, to the maps the head looks at, finest first: [B, C_l, H_l, W_l]."""
        raise NotImplementedError

    def answer(self, maps: list[Tensor]) -> RawOutput:
        """The maps to raw outputs."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> RawOutput:
        """Images [B, 3, size, size], RGB in 0..1, to raw outputs."""
        return self.answer(self.maps(images))

    def freeze_backbone(self) -> None:
        """From now on only the head learns; what the backbone says of an image stays the same, batch norms included."""
        self._frozen = True
        self.requires_grad_(False)
        self.head.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen part keeps its evaluation mode."""
        if not self._frozen:
            return super().train(mode)
        super().train(False)
        self.head.train(mode)
        self.training = mode
        return self

    def losses(self, raw: Any, targets: Sequence[Target]) -> dict[str, Tensor]:
        """``classification`` and ``localisation``, scalars, of this detector's :class:`RawOutput` of a batch."""
        raise NotImplementedError

    def image_losses(self, raw: RawOutput, targets: Sequence[Target]) -> Tensor:
        """[B] the sum of :meth:`losses` of each image, as if it were the only one of its batch."""
        alone = [self.losses(raw.of_image(k), [target]) for k, target in enumerate(targets)]
        return torch.stack([torch.stack(list(losses.values())).sum() for losses in alone])

    def probabilities(self, logits: Tensor) -> Tensor:
        """[…, K] logits to probabilities, float32."""
        logits = logits.float()
        return logits.softmax(-1) if self.activation == "softmax" else logits.sigmoid()

    def foreground(self, probs: Tensor) -> Tensor:
        """[…, K] probabilities to those of the C classes, [..., C]."""
        return probs[..., 1:] if self.activation == "softmax" else probs

    def embed(self, raw: RawOutput, extent: Floats | None = None) -> Tensor:
        """[B, 256] image embedding.

        Global average of every feature map the head looks at, end to end, then a fixed Gaussian projection to
        256 dimensions, which keeps distances (Johnson and Lindenstrauss 1984). The paper states the width
        (256) but not how it is reached: [R].

        Args:
            raw: of a batch.
            extent: [B, 2] the share of the input that each image fills; the rest is left out. None: all of it.
        """
        pooled = torch.cat([mean_within(features.float(), extent) for features in raw.features], 1)
        return pooled @ self.projection

    def predict(
        self, raw: Any, score_threshold: float, nms_iou: float, max_detections: int, features: bool = False
    ) -> list[Prediction]:
        """Per-class non-maximum suppression, keeping each detection's full class probabilities.

        Args:
            raw: this detector's :class:`RawOutput` of a batch.
            score_threshold: detections below are dropped, 0..1.
            nms_iou: of two boxes of a class that overlap more than this, the lower score goes.
            max_detections: kept per image. The best ``CANDIDATES`` (box, class) pairs enter the suppression, or four
                times as many as are kept if that is more.
            features: whether to describe the detections, see :meth:`describe`.
        """
        raise NotImplementedError

    def suppress(
        self,
        probs: Tensor,
        boxes_of: Callable[[Tensor, Tensor], Tensor],
        features: Tensor | None,
        threshold: float,
        nms_iou: float,
        limit: int,
    ) -> Prediction:
        """The detections of one image, as :meth:`predict` promises them.

        Args:
            probs: [P, K] class probabilities of its candidates.
            boxes_of: boxes [n, 4] of candidates [n] for classes [n], clipped to the input.
            features: its finest map, [C, H, W], by which detections are described. None: they are not.
            threshold: as in :meth:`predict`.
            nms_iou: as in :meth:`predict`.
            limit: ``max_detections`` of :meth:`predict`.
        """
        scores = self.foreground(probs).flatten()  # [P * C]
        index = torch.nonzero(scores > threshold).squeeze(1)
        enter = max(CANDIDATES, 4 * limit)
        if len(index) > enter:  # to find the last one that enters is cheaper than to sort all
            index = index[scores[index] >= scores[index].topk(enter).values[-1]]
        order = torch.sort(scores[index], descending=True, stable=True).indices[:enter]
        index = index[order]
        scores, candidate, labels = scores[index], index // self.num_classes, index % self.num_classes
        boxes = boxes_of(candidate, labels)
        sound = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
        boxes, scores, candidate, labels = boxes[sound], scores[sound], candidate[sound], labels[sound]
        keep = batched_nms(boxes, scores, labels, nms_iou)[:limit]
        boxes, candidate = boxes[keep], candidate[keep]
        described = None if features is None else self.describe(features, boxes)
        return Prediction(boxes, scores[keep], labels[keep], probs[candidate], described)

    def describe(self, features: Tensor, boxes: Tensor) -> Tensor:
        """[n, 64] what is in some boxes of one image, each of length 1, or 0 where the map is.

        Mean of the finest map [C, H, W] over the box [n, 4] (RoI align, 4 × 4 points), then a fixed Gaussian projection
        as in :meth:`embed`. It is made to be compared by cosines, and boxes of all sizes are read from one map so that
        they can be. A cosine c is off by about (1 - c²)/8, one standard deviation. Where Wu et al. 2022 take the
        feature from is not public: [R].
        """
        rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
        scale = features.shape[-1] / self.image_size
        pooled = roi_align(features.float()[None], rois, 1, scale, SAMPLES, aligned=True)[:, :, 0, 0]
        return F.normalize(pooled @ self.feature_projection, dim=1)


def build_detector(name: str, classes: Sequence[str], image_size: int, options: dict[str, Any], seed: int) -> Detector:
    """A detector with fresh weights drawn from ``seed``; torch's own generator is left as it was.

    Raises:
        MgralError: unknown detector or option, or weights that cannot be loaded.
    """
    plugin = plugins.load("detectors", name)
    parsed = plugin.Options.parse(options, "detector.options")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_streams.stream(seed, "initial weights"))
        detector: Detector = plugin.build(classes, image_size, parsed)
    return detector.to(memory_format=torch.channels_last)


def save_detector(detector: Detector, path: str | Path) -> None:
    """Write the weights as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    write_bytes(path, serialize(tensors))


def load_detector(detector: Detector, path: str | Path) -> None:
    """Read weights written by :func:`save_detector` into a detector of the same build.

    Raises:
        MgralError: missing, damaged, or of another detector.
    """
    try:
        detector.load_state_dict(read_weights(path))
    except RuntimeError:
        raise MgralError(f"{path}: weights of another detector or another number of classes; train it again") from None


def restore_detector(params: DetectorParams, classes: Sequence[str], image_size: int, path: str | Path) -> Detector:
    """A detector as it was saved. Raises MgralError as :func:`build_detector` and :func:`load_detector` do."""
    detector = build_detector(params.name, classes, image_size, params.options, seed=0)
    load_detector(detector, path)
    return detector


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dictionary from ``.safetensors``, or from torch's own format without running code.

    A checkpoint that holds one as ``state_dict``, beside other things, does as well.

    Raises:
        MgralError: missing or damaged.
    """
    if not Path(path).is_file():
        raise MgralError(f"{path}: no such file; give a local weights file or none")
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise MgralError(
            f"{path}: holds code or is damaged, not a file of tensors only; convert it to .safetensors"
        ) from None
    except Exception:  # torch's unpickler raises whatever the bytes lead it to
        raise MgralError(f"{path}: not a weights file (.safetensors, or .pth of tensors only); replace it") from None
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)  # checkpoints hold more than the weights
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MgralError(f"{path}: holds no tensors by name; give the model's state dictionary")
    return dict(state)


def load_fitting(module: nn.Module, state: Mapping[str, Tensor], path: str, of: str, parts: Sequence[str] = ()) -> None:
    """Load the tensors that fit by name and shape; the rest of the module stays as it is. What fitted is logged.

    Args:
        module: receives the tensors.
        state: by name, as in the module's own state dictionary.
        path: the file they come from, for the message.
        of: what the file should hold weights of, for the message.
        parts: how names of parts of the module begin; the log says of each how many tensors fitted.

    Raises:
        MgralError: they fit less than half of the module: weights of another model.
    """
    own = _counted(module.state_dict())
    fits = _fitting(own, state)
    if len(fits) < len(own) / 2:
        raise MgralError(f"{path}: fits {len(fits)} of {len(own)} tensors of {of}; give weights of that model")
    load_reported(module, state, path, of, parts)


def load_reported(module: nn.Module, state: Mapping[str, Tensor], path: str, of: str, parts: Sequence[str]) -> None:
    """What :func:`load_fitting` does, however little fits."""
    own = _counted(module.state_dict())
    fits = _fitting(own, state)
    module.load_state_dict(fits, strict=False)
    missing = [name for name in own if name not in fits]
    rest = f"{len(missing)} stay as initialised, {missing[0]} first" if missing else "complete"
    counts = {part: [sum(name.startswith(part) for name in names) for names in (fits, own)] for part in parts}
    said = ", ".join(
        f"{part.rstrip('.')} {fitting} of {of_all}" for part, (fitting, of_all) in counts.items() if of_all
    )
    log.log(
        logging.WARNING if missing else logging.INFO,
        "%s: weights for %d of %d tensors of %s%s; %s; %d tensors of the file are not used",
        path,
        len(fits),
        len(own),
        of,
        f" ({said})" if said else "",
        rest,
        len(_counted(state)) - len(fits),
    )


def _counted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are weights or read by a forward pass."""
    return {name: value for name, value in state.items() if not name.endswith(COUNTER)}


def _fitting(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}


def _projection(name: str, width: int, to: int) -> Tensor:
    """[width, to] Gaussian, the same for every run and seed."""
    values = random_streams.generator(name, width).standard_normal((width, to))
    projection: Tensor = torch.from_numpy(values).float() / to**0.5
    return projection
