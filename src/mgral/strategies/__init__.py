"""Strategies: the rules that pick a batch, one file or folder each; ``_contract`` has what they share."""
