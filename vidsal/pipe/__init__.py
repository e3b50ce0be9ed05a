"""THE PIPE: a source in, densities out (`predict`), or files out (`run`); several videos side by side (`many`).

Three stages work at the same time, each ahead of the next by a bounded number of batches: decoding, prediction, and
drawing with encoding. The maps depend neither on the batch size nor on where the video is cut into calls. One file a
step; nothing is imported here, so that the options stay quick to load.
"""
