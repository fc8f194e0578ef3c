"""How far each partition is done, when records finish in any order."""

from collections import deque
from collections.abc import Callable

from aiokafka import TopicPartition


class PartitionOffsets:
    """The records of one partition that were taken. ``moved`` is called whenever one is done."""

    __slots__ = ("_finished", "_moved", "_open", "position")

    def __init__(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self.position: int | None = None
        """Below it, everything is done; None before anything is."""

    def __len__(self) -> int:
        """How many records are not known to be done, as a whole up to the last that was taken."""
        return len(self._open)

    def start(self, offset: int) -> None:
        """A record was taken; they are started in the order of their offsets."""
        self._open.append(offset)

    def finish(self, offset: int) -> None:
        """A record is done."""
        finished, still_open = self._finished, self._open
        if still_open[0] == offset:
            still_open.popleft()
            self.position = offset + 1
            while still_open and still_open[0] in finished:
                offset = still_open.popleft()
                finished.discard(offset)
                self.position = offset + 1
        else:
            finished.add(offset)
        self._moved()


class OffsetTracker:
    """The offsets that may be committed: everything below the lowest unfinished record of each partition."""

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self._moved = moved
        self._partitions: dict[TopicPartition, PartitionOffsets] = {}
        self._committed: dict[TopicPartition, int] = {}

    def of(self, partition: TopicPartition) -> PartitionOffsets:
        """The records of a partition. Those that finish after it has moved away are nobody's business any more."""
        found = self._partitions.get(partition)
        if found is None:
            found = self._partitions[partition] = PartitionOffsets(self._moved)
        return found

    def unfinished(self, partitions: "set[TopicPartition] | None" = None) -> int:
        """How many records are not done yet, in ``partitions`` or in all."""
        return sum(len(found) for key, found in self._partitions.items() if partitions is None or key in partitions)

    def committable(self) -> dict[TopicPartition, int]:
        """The next offset of each partition that has moved on since :meth:`committed`."""
        return {
            partition: found.position
            for partition, found in self._partitions.items()
            if found.position is not None and self._committed.get(partition) != found.position
        }

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        self._committed.update(offsets)

    def forget(self, partitions: "set[TopicPartition]") -> None:
        """Partitions went to another worker."""
        for partition in partitions:
            self._partitions.pop(partition, None)
            self._committed.pop(partition, None)
