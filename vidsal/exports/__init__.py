"""Numbers of frames come in, results in the form that others take them in go out: the shot list."""

from vidsal.exports.shots import SHOT_COLUMNS, ShotList, ShotNumbers

__all__ = ["SHOT_COLUMNS", "ShotList", "ShotNumbers"]
