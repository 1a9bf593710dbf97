"""Annotation tools, one file each; :mod:`mgral.annotation.exchange` is their contract."""
