"""What a score model is trained on: denoising, exact and sliced score matching.

Denoising losses are means over the numbers of a sample, without Eq. 3.1's one half; the losses
without a perturbation kernel are the text's own, sums over them with it.
"""
