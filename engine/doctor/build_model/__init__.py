"""The probes of the user's network."""
