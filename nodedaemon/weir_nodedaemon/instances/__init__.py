"""What all kinds on all engines share: holdings, observations, journal, pulls, fence, sweep."""
