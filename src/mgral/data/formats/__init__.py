"""Formats of data sets, one file each.

A format is a module with

- ``Options``: its parameters (:class:`mgral.config.base.Settings`), with defaults and explanations;
- ``read(root, options, report)``: the content of its files, as a :class:`mgral.data.raw.Source`. It knows the syntax:
  what it cannot parse it reports as a :class:`mgral.data.faults.Findings` fault. The content (sizes, boxes, classes,
  ids, names that leave the image root, leaks between splits) is checked once for all formats, in
  :mod:`mgral.data.validation`.
"""
