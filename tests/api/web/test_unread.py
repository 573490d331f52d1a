"""What is kept for clients that do not read: bounded by source and in all, the oldest is cut."""

import asyncio
from typing import cast

from weir_api.web.unread import UnreadAnswers


class Stream:
    """A connection with so much that its client has not taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_cut = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.is_cut = True


class Clients:
    """Clients that stop to read, each with ten bytes to come."""

    def __init__(self, most: int, most_of_source: int) -> None:
        self.unread = UnreadAnswers(most=most, most_of_source=most_of_source)
        self.streams: list[tuple[Stream, str]] = []

    def stop(self, *sources: str, size: int = 10, limited: bool = True) -> None:
        for source in sources:
            stream = Stream(size)
            self.streams.append((stream, source))
            self.unread.wait(cast(asyncio.Transport, stream), source, limited=limited)

    def go_on(self, place: int) -> None:
        stream, source = self.streams[place]
        self.unread.flow(cast(asyncio.Transport, stream), source)

    def kept(self) -> str:
        """Return the sources of those that are not cut, oldest first."""
        return "".join(source for stream, source in self.streams if not stream.is_cut)


def test_beyond_its_share_the_oldest_of_a_source_is_cut() -> None:
    clients = Clients(1000, 30)
    clients.stop("b", "a", "a", "a")
    assert clients.kept() == "baaa"
    clients.stop("a")
    assert [stream.is_cut for stream, _ in clients.streams] == [False, True, False, False, False]
    assert clients.unread.held == 40


def test_who_reads_on_or_leaves_counts_no_more() -> None:
    clients = Clients(1000, 20)
    clients.stop("a", "a")
    clients.go_on(0)
    clients.go_on(0)
    clients.stop("a")
    assert clients.kept() == "aaa"
    for place in range(3):
        clients.go_on(place)
    assert clients.unread.held == 0


def test_beyond_what_all_have_who_holds_most_is_cut() -> None:
    clients = Clients(60, 40)
    clients.stop("a", "b", "b", "b", "c", "c")
    assert clients.kept() == "abbbcc"
    clients.stop("c")
    assert clients.kept() == "abbccc"
    clients.stop(*"defghij")  # from many addresses, one each
    assert len(clients.kept()) == 6


def test_one_alone_is_owed_its_answer_however_large() -> None:
    clients = Clients(60, 40)
    clients.stop("a", size=100)
    assert clients.kept() == "a"
    clients.stop("a", size=100)
    assert [stream.is_cut for stream, _ in clients.streams] == [True, False]


def test_a_proxy_stands_for_many() -> None:
    clients = Clients(60, 10)
    clients.stop(*"aaaaaa", limited=False)
    assert clients.kept() == "aaaaaa"
    clients.stop("a", limited=False)
    assert clients.kept() == "aaaaaa"
