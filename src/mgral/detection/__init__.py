"""Detectors: training, inference and evaluation behind one contract."""
