"Images on disk, or a simulated sky, become a packed survey of framed galaxies, which is read in batches."
