"""The one sampling loop, and the state that lets an interrupted run resume."""
