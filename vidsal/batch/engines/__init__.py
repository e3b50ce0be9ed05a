"""Works in, events out, wherever the work is done: on this machine (`local.py`) or on a cluster (`ray.py`)."""
