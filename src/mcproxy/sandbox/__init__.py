"""Running a script: check, workers, the bridge to its tool calls, and the walls around it."""
