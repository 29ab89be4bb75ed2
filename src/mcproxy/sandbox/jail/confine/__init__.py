"""The walls around a worker, each made of one mechanism of the kernel."""
