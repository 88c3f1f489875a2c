"Measurements of a catalogue: cluster quality, components, latent space, outliers, and agreement with Galaxy Zoo."
