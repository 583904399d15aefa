"""The probes of the user's `loss`."""
