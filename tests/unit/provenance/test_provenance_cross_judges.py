"""Judges that only a parameter names are known to `kedro stale`."""

from __future__ import annotations

from excise.judges import JUDGES
from excise.pipelines.report.fidelity import measure_fidelity
from excise.provenance.code import methods_of


def test_judges_of_another_domain_are_among_what_measure_fidelity_finds_by_name():
    named = {"cross": [{"domain": "style", "name": "style_probe"}, {"domain": "thing", "name": "unknown"}]}
    assert methods_of(measure_fidelity, {"params:fidelity": named}, None) == [JUDGES["style_probe"]]
    for nothing in ({}, {"cross": []}, {"cross": None}, None):
        assert methods_of(measure_fidelity, {"params:fidelity": nothing}, None) == []
