"""What judges: references in float64, canonical numbers, screening, envelope, limits."""
