"Figures of galaxies and of statistics, and the report that holds them all."
