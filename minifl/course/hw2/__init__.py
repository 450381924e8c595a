"""Assignment 2: feature norm, MV and layer norm, with their Jacobians."""
