"""Semi-supervised terms: how unlabelled images enter a training, one file each.

A term is a module with ``Options`` and ``build(options, cache, unlabelled, labelled, plan, compute, seed)``, which
returns a :data:`mgral.training.loop.Term`: called with the detector, the step and the step's labelled batch, it
gives further losses, already weighted.
"""
