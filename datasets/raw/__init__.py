"""Raw scanner data: k-space files and CT projections."""
