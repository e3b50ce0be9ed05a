"""Other people's networks behind the one interface: one short file each, made of shared parts."""
