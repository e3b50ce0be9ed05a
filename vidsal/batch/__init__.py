"""Inputs by the thousand in, the results of each and an account of all out: `vidsal batch`."""
