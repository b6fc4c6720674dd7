"""What files of earlier versions lack altogether is no difference."""

from __future__ import annotations

from excise.commands.verify.differences import differences


def test_letters_count_only_where_the_stored_file_has_them() -> None:
    before = {"erasers": {"ac": {"attacks": {"plain": {"hits": 1}}}}}
    now = {"erasers": {"ac": {"attacks": {"plain": {"hits": 1}}, "letters": {"plain": "h.."}}}}
    other = {"erasers": {"ac": {"attacks": {"plain": {"hits": 1}}, "letters": {"plain": ".h."}}}}
    assert differences(before, now) == "" and differences(now, now) == ""
    assert "letters" in differences(now, other) and "letters" in differences(now, before)
    assert "hits" in differences(before, {"erasers": {"ac": {"attacks": {"plain": {"hits": 2}}}}})
