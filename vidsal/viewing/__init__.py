"""A video and the gaze recorded on it: all its viewers drawn over it, and how well gaze fits what is predicted."""
