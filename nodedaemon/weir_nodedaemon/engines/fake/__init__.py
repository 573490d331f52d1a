"""An engine in memory, held to the same contract as the real ones."""
