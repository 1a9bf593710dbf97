"""Training of detectors: the loop, the semi-supervised terms, the proxy runs."""
