"""Rewards: proxies are trained for batches, and their records price other batches."""
