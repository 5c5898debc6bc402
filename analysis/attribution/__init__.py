"""What a prediction rests on: attributions to layers and to pixels."""
