"""People as the oracle: a batch goes to an annotation tool, and what people answer becomes labels.

``exchange`` is the contract between this room and the tools; :mod:`mgral.annotation.tools` has one file for each.
``matching`` finds the image that an answer is about, ``box_rules`` turns its boxes into boxes of the data set,
``reconciling`` joins the answers of several people, ``labels`` makes the labels of a cycle of all this.
"""
