"""One server's life: when it starts, restarts, rests, ends; the guard of its calls."""
