"""Derivatives of the logits: probes and Jacobian norms."""
