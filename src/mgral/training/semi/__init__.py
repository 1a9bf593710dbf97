"""Semi-supervised terms: how unlabelled images enter a training, one file each.

A term is a module with ``Options`` and ``build(options, cache, unlabelled, labelled, plan, compute, seed)``, which
returns a :data:`mgral.training.loop.Term`: called with the detector, the step and what the detector says of the
step's labelled images, it gives further losses, already weighted.
"""
