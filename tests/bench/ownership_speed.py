"""What the ownership proof costs: a pass over a file table of half a million records, beside reading it.

Not part of the tests: timings are measured here, never asserted there. Needs root and ntfs-3g. The table is
a real one, of a drill's Windows, shown over and over until it is as long as asked for.

    .venv/bin/python tests/bench/ownership_speed.py [--records N] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unbrick.disks.ntfs.file_table import FileTable, open_table
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import open_view, read_geometry
from unbrick.disks.proof.claims import find_claims
from unbrick.drill.fleet import make_fleet
from unbrick.drill.options import FleetOptions, MachineOptions
from unbrick.processes.command import SystemRunner

CHUNK = 1 << 20


class Repeated(Stream):
    """A stream that shows some bytes again and again, up to a size."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(_Nothing(), (), size)
        self._data = data

    def read(self, position: int, length: int) -> bytes:
        """See `Stream.read`."""
        at = position % len(self._data)
        whole = self._data[at : at + length]
        while len(whole) < length:
            whole += self._data[: length - len(whole)]
        return whole[: max(0, self.size - position)]


class _Nothing:
    def read(self, offset: int, length: int) -> bytes:
        raise OSError(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        raise OSError(offset, len(data))


class LongTable(FileTable):
    """A file table that repeats a real one."""

    def __init__(self, table: FileTable, records: int) -> None:
        data = table.stream.read(0, table.count * table.geometry.record)
        super().__init__(table.view, table.geometry, Repeated(data, records * table.geometry.record))
        times = -(-records // table.count)
        bits = "".join("1" if table.is_marked_used(number) else "0" for number in range(table.count)) * times
        self._bitmap = int(bits[:records][::-1], 2).to_bytes(-(-records // 8), "little")


def seconds(act: Callable[[], object], rounds: int) -> float:
    """The median of some rounds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    """Make a disk, and time the pass over its table beside merely reading as many bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unbrick-bench-") as folder:
        machine = MachineOptions("LARGE", 11, "LARGE", files=2000, size=512 << 20)
        fleet = make_fleet(Path(folder) / "fleet", FleetOptions((machine,), 11), SystemRunner(), print)
        volume = fleet.machines[0].volumes[0]
        whole = fleet.machines[0].disk.read_bytes()
        plain = Path(folder) / "volume"
        plain.write_bytes(whole[volume.offset : volume.offset + volume.length])
        with open_view(plain) as view:
            table = LongTable(open_table(view, read_geometry(view)), arguments.records)
            zone = [(table.geometry.length - table.geometry.cluster, table.geometry.cluster)]
            claims = seconds(lambda: find_claims(table, zone), arguments.rounds)
            size = table.stream.size

            def read() -> None:
                for position in range(0, size, CHUNK):
                    table.stream.read(position, CHUNK)

            only = seconds(read, arguments.rounds)
    print(f"{arguments.records} records: pass {claims:.2f} s, reading alone {only:.2f} s")


if __name__ == "__main__":
    main()
