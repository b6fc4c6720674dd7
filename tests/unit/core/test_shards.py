"""Every batch is exactly one shard's."""

import pytest

from excise.errors import UserError
from excise.shards import WHOLE, Shard


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_batch_is_exactly_one_shards(count):
    shards = [Shard.parse(f"{k}/{count}") for k in range(1, count + 1)]
    assert all(sum(shard.has(batch) for shard in shards) == 1 for batch in range(20))
    assert [shard.first for shard in shards] == [True] + [False] * (count - 1)
    assert all(Shard.parse(str(shard)) == shard for shard in shards)


def test_the_whole_has_every_batch():
    assert WHOLE.whole and WHOLE.first and all(map(WHOLE.has, range(20)))


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.5/2", 2])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UserError, match="write '2/4'"):
        Shard.parse(text)
