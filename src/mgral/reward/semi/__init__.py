"""Semi-supervised terms: how unlabelled images enter a training, one file each.

A term is a module with

- ``Options``: its parameters, among them ``weight``, of the whole; at 0 the batch has no part in the loss (control);
- ``ACTIVATIONS``: of the detectors it is made for, ``softmax`` or ``sigmoid``; others are refused when parameters are
  checked, and by the proxy run;
- ``USES_PRIORS``: whether it compares what a detector's priors say; detectors without priors are then refused likewise;
- ``build(options, cache, unlabelled, labelled, plan, device, seed)``: a :data:`mgral.detection.training.ExtraLoss`:
  called with the detector, the step and the step's labelled batch, it gives further losses, already weighted.
"""
