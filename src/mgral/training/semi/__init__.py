"""Semi-supervised terms: how unlabelled images enter a training, one file each.

A term is a module with ``Options`` and ``build(options, cache, unlabelled, labelled, plan, compute, seed)``, which
returns a :data:`mgral.training.loop.Term`: called with the detector and the step, it gives further losses, already
weighted. Among its options is ``weight``, of the whole; at 0 the batch has no part in the loss (the control).
"""
