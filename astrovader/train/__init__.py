"The phased schedule of AstroVaDEr, run by callbacks on a fastai Learner, on one device or several."
