"""The agent: an LSTM that scores the pool (policy) and its training by REINFORCE (search)."""
