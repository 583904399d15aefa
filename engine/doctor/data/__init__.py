"""The probes of the data set."""
