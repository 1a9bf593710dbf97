"""Data sets, pools and selections: what is annotated, and what may be chosen."""
