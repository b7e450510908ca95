"""One test per case, named METHOD-CASE. See conftest.py for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from parity_runner.case import Case


def test_case(parity_case: Case) -> None:
    from parity_runner.case import CaseError, run

    try:
        run(parity_case)
    except CaseError as error:
        pytest.fail(f"{parity_case.name}: {error}", pytrace=False)
