"""The configuration: its model, how it is read, migrated and watched."""
