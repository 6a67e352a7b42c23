"""Brings a bench from off to flashed to linked, and keeps a broken one out of the tests that follow."""

from enum import IntEnum

from edge.errors import HarkenError
from hil.connections import Bench


class State(IntEnum):
    """How far a bench is; each state rests on the one before."""

    OFF = 0
    FLASHED = 1
    LINKED = 2


class QuarantinedError(HarkenError):
    """The bench is broken: nothing is run on it until somebody has looked at it."""


class Strategy:
    """Takes a bench to a state, by every state between. What fails twice in a row is quarantined."""

    ATTEMPTS = 2

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.state = State.OFF
        self.quarantined = bench.entry.quarantined

    def transition(self, wanted: State) -> Bench:
        """Return the bench in state `wanted`.

        Raises:
            QuarantinedError: it could not be brought there, now or before; with the first cause.
        """
        self._refuse_quarantined()
        for attempt in range(self.ATTEMPTS):
            try:
                if wanted < self.state:
                    self._let_go()
                while self.state < wanted:
                    self._step()
                return self.bench
            except HarkenError as error:
                self._let_go()
                # An image that is on the board may be what is wrong with it.
                self.state = State.OFF
                if attempt + 1 == self.ATTEMPTS:
                    self.quarantined = str(error)
        self._refuse_quarantined()
        raise AssertionError("a strategy ends in a state or in quarantine")

    def restart(self) -> Bench:
        """Return the bench freshly linked: after a test that left it in a state that nobody knows."""
        self._let_go()
        return self.transition(State.LINKED)

    def off(self) -> None:
        """Let go of the bench."""
        self._let_go()

    def _step(self) -> None:
        if self.state is State.OFF:
            self.bench.flash()
            self.state = State.FLASHED
        else:
            self.bench.open()
            self.state = State.LINKED

    def _let_go(self) -> None:
        self.bench.close()
        self.state = min(self.state, State.FLASHED)

    def _refuse_quarantined(self) -> None:
        if self.quarantined:
            raise QuarantinedError(
                f"{self.bench.entry.name} is quarantined: {self.quarantined}; mend it, or take it out of --board"
            )
