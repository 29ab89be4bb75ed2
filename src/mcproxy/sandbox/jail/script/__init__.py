"""What a script sees: its `api`, both styles of call, its output and its errors."""
