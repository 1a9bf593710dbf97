"""Detectors, one file each; :mod:`mgral.detection.base` has the contract."""
