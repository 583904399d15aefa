"""The probes of the user's `decode`."""
