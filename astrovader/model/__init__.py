"The variational autoencoder, its Gaussian-mixture prior, the losses, and what runs them fast on any device and in several processes."
