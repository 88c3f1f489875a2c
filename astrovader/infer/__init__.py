"A trained model applied to a survey, which gives a catalogue, and sampled, which gives a synthetic survey."
