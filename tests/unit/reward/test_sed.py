"""SED's terms on numbers worked out by hand, and on a detector that is scale-equivariant by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder

from mgral.config.schema import Machine
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import training
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.priors import PriorDetector, PriorOutput
from mgral.detection.training import TrainingConfig
from mgral.reward.semi import sed

SIZE = 16
STRIDES = (2, 4, 8)
OFFSETS = torch.tensor([0.1, 0.2, 0.3, 0.4])


class Pyramid(PriorDetector):
    """Three levels, one anchor a cell of twice the stride: the mean of the pixels below it, times a learned gain.

    The mean of 2k x 2k pixels is that of k x k pixels of the image at half the size, so what level k + 1 says of an
    image is what level k says of its half.
    """

    activation = "sigmoid"

    def __init__(self, size: int = SIZE, growth: float = 2.0) -> None:
        maps = [torch.zeros(1, 3, size // stride, size // stride) for stride in STRIDES]
        priors = []
        for level, stride in enumerate(STRIDES):
            centre = stride * (torch.arange(size // stride) + 0.5)
            y, x = (grid.flatten() for grid in torch.meshgrid(centre, centre, indexing="ij"))
            side = 2 * growth**level
            priors.append(torch.stack([x - side, y - side, x + side, y + side], 1))
        super().__init__(2, size, torch.cat(priors), maps, [1, 1, 1], BoxCoder((1.0, 1.0, 1.0, 1.0)))
        self.gain = nn.Parameter(torch.tensor([[4.0, -4.0]]))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> PriorOutput:
        features = [F.avg_pool2d(images, stride) for stride in STRIDES]
        means = torch.cat([level.mean(1).flatten(1) for level in features], 1)[..., None]  # [B, P, 1]
        return PriorOutput(means * self.gain, means * OFFSETS * self.gain.mean(), features)

    def losses(self, raw, targets):
        return {"classification": raw.logits.square().mean()}


@pytest.fixture
def machine():
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


def pictures(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def taught(student: PriorDetector, decay: float = 0.999):
    teacher = sed.averaged(student, decay)
    teacher.update_parameters(student)
    return teacher


@pytest.mark.parametrize(
    ("decay", "second", "third"),
    [
        # young: the plain mean. (1 + 3) / 2 = 2, (1 + 3 + 5) / 3 = 3
        (0.999, 2.0, 3.0),
        # decay 1/4: 1/4 * 1 + 3/4 * 3 = 2.5, 1/4 * 2.5 + 3/4 * 5 = 4.375
        (0.25, 2.5, 4.375),
    ],
)
def test_the_teacher_is_the_moving_average_of_its_students(decay: float, second: float, third: float) -> None:
    student = Pyramid()
    teacher = sed.averaged(student, decay)
    for weight, expected in [(1.0, 1.0), (3.0, second), (5.0, third)]:
        with torch.no_grad():
            student.gain.fill_(weight)
            student.seen.fill_(weight)
        teacher.update_parameters(student)
        assert torch.allclose(teacher.module.gain, torch.full((1, 2), expected))
        assert teacher.module.seen == weight  # a buffer, copied
    assert student.gain[0, 0] == 5.0


def test_levels_of_an_image_and_of_its_half() -> None:
    # Full: 8², 4² and 2² cells, half: 4², 2² and 1. Of the 84, the last 20 answer to the first 20 of 21.
    full, half = Pyramid(SIZE), Pyramid(SIZE // 2)
    coarse, fine = sed.corresponding(
        full(torch.zeros(1, 3, SIZE, SIZE)), half(torch.zeros(1, 3, SIZE // 2, SIZE // 2)), full.priors
    )
    assert (coarse, fine) == (slice(64, None), slice(0, 20))
    assert torch.equal(full.priors[coarse], 2 * half.priors[fine])


@pytest.mark.slow
@pytest.mark.usefixtures("small_resnets")
def test_levels_of_retinanet() -> None:
    """Its maps, anchors and their order at two sizes; the anchors are rounded to whole pixels."""
    full, half = (build_detector("retinanet", ("a", "b"), size, {}, 0).eval() for size in (192, 96))
    with torch.no_grad():
        raw = [full(torch.zeros(1, 3, size, size)) for size in (192, 96)]
    coarse, fine = sed.corresponding(raw[0], raw[1], full.priors)
    assert (coarse.start, fine.stop) == (9 * 24**2, 9 * (12**2 + 6**2 + 3**2 + 2**2))
    assert torch.allclose(full.priors[coarse], 2 * half.priors[fine], rtol=0, atol=2)


def test_what_has_no_corresponding_levels_is_refused(machine) -> None:
    options = sed.Options()
    for student, size in [(Pyramid(growth=1.5), SIZE), (build_detector("tiny_ssd", ("a",), 64, {}, 0), 64)]:
        view = torch.zeros(2, 3, size, size)
        with pytest.raises(MgralError, match="anchors that double from level to level"):
            sed.losses(student, taught(student), view, view, machine, options)


def test_a_half_that_shrinks_to_one_cell_twice_is_refused() -> None:
    full = PriorOutput(
        torch.zeros(1, 21, 2), torch.zeros(1, 21, 4), [torch.zeros(1, 3, side, side) for side in (4, 2, 1)]
    )
    half = PriorOutput(
        torch.zeros(1, 6, 2), torch.zeros(1, 6, 4), [torch.zeros(1, 3, side, side) for side in (2, 1, 1)]
    )
    with pytest.raises(MgralError, match=r"^image_size: .* shrink to one cell"):
        sed.corresponding(full, half, Pyramid(SIZE // 2).priors)


def test_disagreement_of_two_locations() -> None:
    # |0.9 - 0.5| = 0.4 at the first, on its first class; at the second, both see background: 0
    teacher, student = (
        torch.tensor([[0.9, 0.1], [0.01, 0.01]]).logit(),
        torch.tensor([[0.5, 0.1], [0.01, 0.01]]).logit(),
    )
    assert sed.disagreement(teacher, student, 1.0).tolist() == pytest.approx([0.4, 0.0], abs=1e-6)
    assert sed.disagreement(teacher, student, 2.0).tolist() == pytest.approx([0.16, 0.0], abs=1e-6)
    assert not sed.disagreement(teacher, student.requires_grad_(), 2.0).requires_grad


def test_divergences_and_distance() -> None:
    # one class, 1/2 against 1/4: 1/2 ln 2 + 1/2 ln(2/3) = 0.143841; back: 1/4 ln(1/2) + 3/4 ln(3/2) = 0.130812
    p, q = torch.tensor([0.5]).logit(), torch.tensor([0.25]).logit()
    assert sed.binary_kl(p, q).item() == pytest.approx(0.143841, abs=1e-6)
    assert sed.symmetric_kl(p, q).item() == pytest.approx((0.143841 + 0.130812) / 2, abs=1e-6)
    # a second class of the same probability adds nothing; far-off logits stay finite
    assert sed.binary_kl(torch.tensor([0.0, 3.0]), torch.tensor([-math.log(3), 3.0])).item() == pytest.approx(0.143841)
    assert sed.binary_kl(torch.tensor([200.0]), torch.tensor([-200.0])).item() == pytest.approx(200)
    assert sed.distance(torch.zeros(4), torch.tensor([0.0, -1.0, 2.0, 1.0])).item() == 1.0


def test_the_mean_is_weighted() -> None:
    assert sed.mean(torch.tensor([2.0, 10.0]), torch.tensor([0.16, 0.0])).item() == pytest.approx(2.0)
    assert sed.mean(torch.tensor([2.0, 10.0]), torch.tensor([0.03, 0.01])).item() == pytest.approx(4.0)
    assert sed.mean(torch.tensor([2.0, 10.0]), torch.zeros(2)).item() == 0.0


def test_nothing_to_learn_where_teacher_and_both_sizes_agree(machine) -> None:
    student = Pyramid()
    parts = sed.losses(student, taught(student), pictures(), pictures(), machine, sed.Options())
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(
        {"class": 0, "box": 0, "scale": 0}, abs=1e-5
    )


def test_the_losses_of_a_teacher_that_sees_more(machine) -> None:
    """White images, so that all locations are alike: the weighted means are the values of one of them."""
    student = Pyramid()
    teacher = taught(student)
    with torch.no_grad():
        # student: p = 1/2 for both classes and offsets 0; teacher: p = 1/4 and 1/2, mean gain -ln(3)/2
        student.gain.fill_(0.0)
        teacher.module.gain.copy_(torch.tensor([[-math.log(3), 0.0]]))
    white = torch.ones(2, 3, SIZE, SIZE)
    parts = sed.losses(student, teacher, white, white, machine, sed.Options())
    assert parts["class"].item() == pytest.approx(0.130812, abs=1e-6)
    assert parts["box"].item() == pytest.approx(0.25 * math.log(3) / 2)  # mean of the four offsets: 0.25
    assert parts["scale"].item() == pytest.approx(0, abs=1e-7)
    torch.stack(list(parts.values())).sum().backward()
    assert student.gain.grad is not None
    # d KL(t‖s) / d logit = s - t: 1/2 - 1/4 for the first class, at a mean pixel of 1; boxes pull both alike
    assert (student.gain.grad[0, 0] - student.gain.grad[0, 1]).item() == pytest.approx(0.25)
    assert teacher.module.gain.grad is None


def test_sizes_that_disagree(machine) -> None:
    """A student whose answer to small images is off by ln 3 in one class: 1/2 against 1/4, symmetric."""

    class Biased(Pyramid):
        def forward(self, images: Tensor) -> PriorOutput:
            raw = super().forward(images)
            off = math.log(3) * (images.shape[-1] < SIZE)
            return PriorOutput(raw.logits - torch.tensor([off, 0.0]), raw.offsets, raw.features)

    student = Biased()
    with torch.no_grad():
        student.gain.fill_(0.0)
    parts = sed.losses(student, taught(student), pictures(), pictures(), machine, sed.Options(scale=3.0))
    assert parts["scale"].item() == pytest.approx(3 * (0.143841 + 0.130812) / 2, abs=1e-5)
    assert parts["class"].item() == parts["box"].item() == 0


@pytest.fixture
def cache(tmp_path):
    """Eight images of noise; the first four with a box."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 255, (8, SIZE, SIZE, 3), dtype=np.uint8))
    listed = {i: Image(i, f"{i}.png", SIZE, SIZE, "train") for i in range(1, 9)}
    box = np.array([[2, 2, 9, 9]], np.float32)
    boxes = {i: Boxes(box.copy(), np.array([0]), np.array([False])) for i in listed}
    return image_cache.Cache(Dataset(("a", "b"), listed, boxes, tmp_path), tmp_path / "images.npy")


PLAN = TrainingConfig(steps=10, batch_size=2, learning_rate=0.1, weight_decay=0.0, warmup=0, augment=False)


def trained(cache, machine, batch: list[int], **options: float) -> tuple[Tensor, list[training.Row]]:
    student = Pyramid()
    term = sed.build(sed.Options(**options), cache, batch, [1, 2], PLAN, machine, 0)
    rows = training.fit(student, cache, [1, 2], PLAN, machine, 0, term)
    return student.gain.detach(), rows


def test_a_training_depends_on_the_batch_and_repeats(cache, machine) -> None:
    first, rows = trained(cache, machine, [3, 4, 5])
    assert torch.equal(first, trained(cache, machine, [5, 4, 3])[0])
    assert not torch.equal(first, trained(cache, machine, [6, 7, 8])[0])
    assert [row["sed_class"] > 0 for row in rows] == [False, *[True] * 9]  # a tenth of the steps is burn-in


def test_weight_zero_is_a_training_without_the_batch(cache, machine) -> None:
    control, rows = trained(cache, machine, [3, 4, 5], weight=0.0)
    alone = Pyramid()
    training.fit(alone, cache, [1, 2], PLAN, machine, 0)
    assert torch.equal(control, alone.gain.detach())
    assert all(row["sed_class"] == row["sed_box"] == row["sed_scale"] == 0 for row in rows)
