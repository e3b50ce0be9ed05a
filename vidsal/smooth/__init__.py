"""Densities of consecutive frames come in, the same frames with densities steadied in time come out.

Averages are of densities, not of their logs, and weigh by time, not by count. Between two frames the density is taken
to change linearly, and each filter is the exact answer for that signal; so footage at 25 and at 50 frames a second, and
of variable rate, gives the same maps at the same instants. Nothing reaches over a cut.

One file a kind; `SmoothOptions.make` chooses. Nothing is imported here, so that the options stay quick to load.
"""
