from aiokafka import TopicPartition

from services.runtime.delivery.offsets import OffsetTracker

SALES = TopicPartition("outlet.events.sale", 0)
STORES = TopicPartition("outlet.events.store", 3)


def test_only_what_lies_below_the_lowest_unfinished_record_is_committable() -> None:
    offsets = OffsetTracker()
    for offset in (10, 11, 12, 13):
        offsets.of(SALES).start(offset)
    offsets.of(SALES).finish(12)
    offsets.of(SALES).finish(11)
    assert offsets.committable() == {}
    offsets.of(SALES).finish(10)
    assert offsets.committable() == {SALES: 13}
    assert offsets.unfinished() == 1


def test_gaps_of_a_compacted_or_transactional_topic_do_not_stop_the_commit() -> None:
    offsets = OffsetTracker()
    for offset in (3, 7, 20):
        offsets.of(SALES).start(offset)
        offsets.of(SALES).finish(offset)
    assert offsets.committable() == {SALES: 21}


def test_a_committed_offset_is_not_committed_again() -> None:
    offsets = OffsetTracker()
    offsets.of(SALES).start(1)
    offsets.of(SALES).finish(1)
    offsets.committed(offsets.committable())
    assert offsets.committable() == {}


def test_records_of_partitions_that_moved_away_are_forgotten() -> None:
    offsets = OffsetTracker()
    moved_away = offsets.of(SALES)
    moved_away.start(1)
    offsets.of(STORES).start(1)
    offsets.forget({SALES})
    moved_away.finish(1)
    assert offsets.unfinished() == 1
    assert offsets.unfinished({SALES}) == 0
    assert offsets.committable() == {}


def test_a_partition_that_comes_back_starts_afresh() -> None:
    offsets = OffsetTracker()
    offsets.of(SALES).start(1)
    offsets.of(SALES).finish(1)
    offsets.committed({SALES: 2})
    offsets.forget({SALES})
    offsets.of(SALES).start(1)
    offsets.of(SALES).finish(1)
    assert offsets.committable() == {SALES: 2}
