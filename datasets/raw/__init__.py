"""Raw scanner data: k-space and CT projections."""
