"""The probes of the user's `assign`."""
