"""The probes of the user's `transform`."""
