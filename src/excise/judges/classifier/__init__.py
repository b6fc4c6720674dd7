"""Any image classifier of transformers: ResNet-50 of ImageNet, the ViT that knows 129 artists, and others."""

from excise.judges.judge import register

from .classifier import ImageClassifier

register("image_classifier", ImageClassifier)
