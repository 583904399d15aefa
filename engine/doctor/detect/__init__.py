"""The probes of the user's `detect`."""
