"""The parameters of an experiment: their schema, and how files become it."""
