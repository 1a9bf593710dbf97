"""How long an experiment will take, and how much disk."""
