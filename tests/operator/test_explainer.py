"""Explanations cost what they may, and no more."""

import pytest

from support.ledgers import cpu, facts, hold, ledger_of
from weir_crds.conditions import Reason
from weir_operator.scheduling import explainer
from weir_operator.scheduling.explainer import Explainer
from weir_operator.scheduling.ledger import Ledger
from weir_operator.scheduling.messages import WaitReport


def full() -> Ledger:
    ledger = ledger_of(facts("n1", nodes=1, cores=1), facts("n2", nodes=1, cores=1))
    hold(ledger, "a", "n1", 0)
    hold(ledger, "b", "n2", 0)
    return ledger


def message(ledger: Ledger, **request: str) -> str:
    report = Explainer(ledger).report(cpu(1, **request))
    assert report is not None
    return report.message


def test_it_is_remembered_until_the_ledger_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = full()
    explained = Explainer(ledger)
    first = explained.report(cpu(1))
    assert first == WaitReport(Reason.INSUFFICIENT_CAPACITY, "0/2 hosts: 2 lack cpu (n1, n2)")
    with monkeypatch.context() as patch:
        patch.setattr(explained, "compute", lambda *_: pytest.fail("computed again"))
        assert explained.report(cpu(1)) == first
    ledger.set_host("n2", facts("n2", nodes=1, cores=1, unavailable="cordoned"))
    second = explained.report(cpu(1))
    assert second is not None
    assert second.message == "0/2 hosts: 1 cordoned (n2), 1 lack cpu (n1)"


def test_beyond_its_budget_it_says_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    ledger = full()
    explained = Explainer(ledger, clock=lambda: seconds[0])
    known = explained.report(cpu(1))
    monkeypatch.setattr(explainer, "_BUDGET", 0.0)
    ledger.release("b")
    ledger.set_host("n2", None)
    assert explained.report(cpu(1)) == known
    assert explained.report(cpu(2)) is None
    monkeypatch.setattr(explainer, "_BUDGET", 0.05)
    seconds[0] += 1
    now = explained.report(cpu(1))
    assert now is not None
    assert now.message == "0/1 hosts: 1 lack cpu (n1)"


def test_hosts_that_were_never_meant_are_left_out() -> None:
    ledger = full()
    ledger.set_host("x1", facts("x1", external=True, unavailable="external"))
    assert message(ledger) == "0/2 hosts: 2 lack cpu (n1, n2)"
    assert message(ledger, host_name="n2") == "0/1 hosts: 1 lack cpu (n2)"
    assert message(ledger, host_name="x1") == "0/1 hosts: 1 external (x1)"
    assert message(ledger, host_name="n9") == "there is no Host n9"
