"""SED: scale-equivalent distillation for RetinaNet (Guo et al., CVPR 2022), a reconstruction [R].

No code is public. From the paper: a teacher that is the moving average of the student; soft distillation in place of
thresholds; the same answer for an image at level P_{k+1} and for the image at half the size at P_k, where an object
covers the same cells and its offsets from anchors half as large are the same; each location weighted by how far
teacher and student are apart, which screens the background, on which they agree, and the boxes there.

Ours, since the paper's form is not known to us: the divergence (binary Kullback–Leibler), the weight (squared
disagreement, as a share of its sum), and what perturbs the student (the colours of :mod:`mgral.data.augmentation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Activation

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.swa_utils import AveragedModel

    from mgral.data.image_cache import Cache
    from mgral.detection.base import Detector, RawOutput, Target
    from mgral.detection.device import Device
    from mgral.detection.priors import PriorDetector, PriorOutput
    from mgral.detection.training import ExtraLoss, TrainingConfig

ACTIVATIONS: frozenset[Activation] = frozenset({"sigmoid"})  # a yes or no per class, so that none is background
USES_PRIORS = True

DOUBLING = (1.9, 2.1)  # anchors of a level over those of the finer one; whole pixels round them


class Options(Settings):
    """Options of SED; defaults from related published settings."""

    weight: float = Field(2.0, ge=0, description="of the whole term; 0 is the control: same batches, no signal")
    ratio: float = Field(1.0, gt=0, description="unlabelled images per labelled one")
    scale: float = Field(1.0, ge=0, description="weight of the agreement between the two sizes, beside distillation")
    decay: float = Field(0.999, ge=0, lt=1, description="of the teacher's moving average, once it is that old")
    focus: float = Field(2.0, ge=0, description="exponent of the disagreement in a location's weight")
    burn_in: float = Field(0.1, ge=0, le=1, description="share of the steps, at the start, without this term")


def build(
    options: Options,
    cache: Cache,
    unlabelled: Sequence[int],
    labelled: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    seed: int,
) -> ExtraLoss:
    """The term for one training.

    The loop calls a term once a step, so the teacher follows the step before at the start of the next. The teacher is
    no part of the loop's checkpoints: a training with this term is to run without them, as proxies do.
    """
    import torch

    from mgral.data.augmentation import recolour
    from mgral.detection.priors import with_priors
    from mgral.detection.training import draw

    ids = sorted(unlabelled)
    size = max(2, round(plan.batch_size * options.ratio))  # a map of one cell of one image cannot be normalised
    teacher: AveragedModel | None = None

    def term(detector: Detector, step: int, _raw: RawOutput, _targets: Sequence[Target]) -> dict[str, Tensor]:
        nonlocal teacher
        if teacher is None:
            teacher = averaged(detector, options.decay)
        teacher.update_parameters(detector)
        chosen = draw(ids, size, step, seed, "unlabelled")
        images = device.images(cache.pixels(chosen))
        view = recolour(images, random_streams.generator(seed, "recolour", step))
        weight = options.weight * (step >= options.burn_in * plan.steps)
        with torch.set_grad_enabled(weight > 0):
            parts = losses(with_priors(detector), teacher, images, view, device, options)
        return {f"sed_{name}": weight * value for name, value in parts.items()}

    return term


def averaged(student: Detector, decay: float) -> AveragedModel:
    """A teacher whose weights are the moving average of the student's, its buffers a copy of the student's.

    After n students the next counts 1 / (n + 1), at least 1 - ``decay``: a plain mean while the teacher is young
    (Tarvainen and Valpola 2017), so that a short proxy has one that moves. It stays in training mode, so that batch
    normalisation treats an image as the student's does.
    """
    from torch.optim.swa_utils import AveragedModel

    def average(so_far: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return so_far.lerp(current, max(1 - decay, 1 / (int(count) + 1)))

    return AveragedModel(student, avg_fn=average)


def losses(
    student: PriorDetector, teacher: AveragedModel, images: Tensor, view: Tensor, device: Device, options: Options
) -> dict[str, Tensor]:
    """Distillation of classes and of boxes, and agreement of two sizes.

    Args:
        student: sees ``view`` and ``view`` at half the size.
        teacher: sees ``images``.
        images: [B, 3, S, S], 0..1, S even.
        view: [B, 3, S, S], the same images in other colours.
        device: precision.
        options: weights.

    Raises:
        MgralError: the levels of the two sizes do not correspond.
    """
    import torch
    from torch.nn import functional as F

    with device.autocast():
        full = student(view.contiguous(memory_format=torch.channels_last))
        half = student(F.avg_pool2d(view, 2).contiguous(memory_format=torch.channels_last))
        with torch.no_grad():
            target = teacher(images.contiguous(memory_format=torch.channels_last))
    coarse, fine = corresponding(full, half, student.priors)
    weights = disagreement(target.logits, full.logits, options.focus)
    weights_half = disagreement(target.logits[:, coarse], half.logits[:, fine], options.focus)
    between = symmetric_kl(full.logits[:, coarse], half.logits[:, fine])
    between = between + distance(full.offsets[:, coarse], half.offsets[:, fine])
    return {
        "class": mean(binary_kl(target.logits, full.logits), weights),
        "box": mean(distance(target.offsets, full.offsets), weights),
        "scale": options.scale * mean(between, weights_half),
    }


def corresponding(full: PriorOutput, half: PriorOutput, priors: Tensor) -> tuple[slice, slice]:
    """The priors that see the same of an image and of the image at half the size.

    Args:
        full: of images at the detector's size.
        half: of the same images at half the size.
        priors: [P, 4] xyxy, of ``full``.

    Returns:
        Slices of the priors of ``full`` (all levels but the finest) and of ``half`` (all but the coarsest).

    Raises:
        MgralError: the maps or the anchors do not double from level to level, or two maps of ``half`` have one cell:
            detectors refuse such images, of which torch in bfloat16 on a CPU gets a gradient wrong.
    """
    import torch

    cells, cells_half = ([features[0, 0].numel() for features in raw.features] for raw in (full, half))
    anchors = full.logits.shape[1] // sum(cells)
    starts = [anchors * sum(cells[:level]) for level in range(len(cells))]
    first = torch.stack([priors[start : start + anchors] for start in starts])  # of each level's first cell
    sides = first[..., 2:] - first[..., :2]  # [levels, anchors, 2]
    ratio = sides[1:] / sides[:-1]
    doubling = bool(((ratio > DOUBLING[0]) & (ratio < DOUBLING[1])).all())
    if not doubling or cells[1:] != cells_half[:-1] or half.logits.shape[1] != anchors * sum(cells_half):
        raise MgralError(
            "proxy.semi: sed needs an even image_size and anchors that double from level to level (RetinaNet); "
            "choose another size, detector or term"
        )
    if cells_half.count(1) > 1:
        raise MgralError(
            "image_size: sed halves the images, and the coarsest maps shrink to one cell; set a larger one"
        )
    return slice(anchors * cells[0], None), slice(0, anchors * sum(cells_half[:-1]))


def disagreement(teacher: Tensor, student: Tensor, focus: float) -> Tensor:
    """[...] Weight of a location, max over classes of |p_teacher - p_student| ^ focus; logits [..., C], no gradient."""
    apart = teacher.detach().float().sigmoid() - student.detach().float().sigmoid()
    return apart.abs().amax(-1) ** focus


def binary_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) of one yes or no per class, summed over the classes; logits [..., C]."""
    from torch.nn.functional import logsigmoid

    p, q = p.float(), q.float()
    yes = p.sigmoid() * (logsigmoid(p) - logsigmoid(q))
    no = (-p).sigmoid() * (logsigmoid(-p) - logsigmoid(-q))
    return (yes + no).sum(-1)


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """(KL(p ‖ q) + KL(q ‖ p)) / 2; logits [..., C]."""
    return (binary_kl(p, q) + binary_kl(q, p)) / 2


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the four offsets of |a - b|; offsets [..., 4]."""
    return (a.float() - b.float()).abs().mean(-1)


def mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; 0 where all weights are."""
    import torch

    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
