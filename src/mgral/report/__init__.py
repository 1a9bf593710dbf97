"""The report of a run: one HTML file that opens offline, and its figures as PNG.

``build`` is the whole interface. ``sources`` reads the run, ``figures``, ``gallery`` and ``tables`` show it,
``words`` says what it means; ``parts`` collects these for ``page``, which fills ``page.html``.
"""

from mgral.report.page import build

__all__ = ["build"]
