"""Results on paper and on screen, and all of them on one page. The notebooks draw galaxies and statistics, and assemble every figure and table into one report."""
