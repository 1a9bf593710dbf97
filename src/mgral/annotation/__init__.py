"""Annotation tools: one file each, with the export of a batch and the import of its labels. There is none yet."""
