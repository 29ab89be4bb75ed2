"""Programs of others that do what ours does in part, measured beside it in the same run."""
