"""The report of a run: :func:`mgral.report.sections.build` writes it, the other modules make its parts."""
