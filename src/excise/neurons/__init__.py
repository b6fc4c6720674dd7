"""Neurons: units, streaming statistics, concept correlation, sensitivity, reactivation."""

from .activations import collect_activations
from .correlation import concept_correlation, neuron_table, reactivation, sensitivity
from .moments import Moments
from .silence import mask_of_neurons, random_neurons, silenced, top_neurons
from .units import FFN, Unit, find_units, record_units

__all__ = [
    "FFN",
    "Moments",
    "Unit",
    "collect_activations",
    "concept_correlation",
    "find_units",
    "mask_of_neurons",
    "neuron_table",
    "random_neurons",
    "reactivation",
    "record_units",
    "sensitivity",
    "silenced",
    "top_neurons",
]
