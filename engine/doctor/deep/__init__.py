"""Learning one batch by heart, and whose exchange mends it where that fails."""
