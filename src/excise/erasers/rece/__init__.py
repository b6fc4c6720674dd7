"""Reliable and Efficient Concept Erasure (Gong et al. 2024)."""

from excise.erasers.registry import register

register("rece", "excise.erasers.rece.method:RECE", grouped=False)
