"""One server's life: when it starts, restarts, rests, ends; the door its calls go through."""
