"Models exchanged with other software: the authors' Keras weights in, ONNX out."
