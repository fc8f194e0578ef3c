"""How far each partition is done, when records finish in any order."""

from collections import deque

from aiokafka import TopicPartition


class _Partition:
    def __init__(self) -> None:
        self.open: deque[int] = deque()
        self.finished: set[int] = set()
        self.position: int | None = None

    def settle(self) -> None:
        while self.open and self.open[0] in self.finished:
            offset = self.open.popleft()
            self.finished.discard(offset)
            self.position = offset + 1


class OffsetTracker:
    """The offsets that may be committed: everything below the lowest unfinished record of each partition."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._committed: dict[TopicPartition, int] = {}

    def start(self, partition: TopicPartition, offset: int) -> None:
        """A record was taken; records of a partition are started in the order of their offsets."""
        self._partitions.setdefault(partition, _Partition()).open.append(offset)

    def finish(self, partition: TopicPartition, offset: int) -> None:
        """A record is done. One of a partition that has moved away is nobody's business any more."""
        state = self._partitions.get(partition)
        if state is not None:
            state.finished.add(offset)
            state.settle()

    def unfinished(self, partitions: "set[TopicPartition] | None" = None) -> int:
        """How many records are not done yet, in ``partitions`` or in all."""
        return sum(
            len(state.open) for key, state in self._partitions.items() if partitions is None or key in partitions
        )

    def committable(self) -> dict[TopicPartition, int]:
        """The next offset of each partition that has moved on since :meth:`committed`."""
        return {
            partition: state.position
            for partition, state in self._partitions.items()
            if state.position is not None and self._committed.get(partition) != state.position
        }

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        self._committed.update(offsets)

    def forget(self, partitions: "set[TopicPartition]") -> None:
        """Partitions went to another worker."""
        for partition in partitions:
            self._partitions.pop(partition, None)
            self._committed.pop(partition, None)
