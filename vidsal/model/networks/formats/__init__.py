"""The formats that published weight files have: a path in, arrays out. Nothing is unpickled."""
