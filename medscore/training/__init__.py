"""Training a score prior: the plan, the loop, its state on disk, its log, its validation."""
