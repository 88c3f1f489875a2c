"""Models exchanged with other software. The notebooks import the weights that the authors of AstroVaDEr published for Keras, and export a trained model as ONNX."""
