"""A model, or maps made elsewhere, and recorded gaze in, scores under a stated protocol out."""

from vidsal.evaluate.stills import (
    Predictor,
    centre_prior,
    mean_density,
    model_predictor,
    score_predictor,
    score_stills,
)

__all__ = ["Predictor", "centre_prior", "mean_density", "model_predictor", "score_predictor", "score_stills"]
