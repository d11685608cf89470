"""Where pods come from (the API server), and what they refer to there."""
