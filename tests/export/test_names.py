"""File names are safe on any file system."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.export.names import slug


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Saturn V", "saturn-v"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\boot.ini", "c-boot-ini"),
        ("toys / plush", "toys-plush"),
        ("a_b__c", "a-b-c"),
        ("猫 と 犬", "猫-と-犬"),
        ("CON", "con-"),
        ("com1", "com1-"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("\x00", "unnamed"),
        ("ﬁne", "fine"),
    ],
)
def test_slugs(name, expected):
    assert slug(name) == expected


@given(st.text())
def test_slugs_are_safe_file_names(name):
    result = slug(name)
    assert 0 < len(result.encode()) <= 255
    assert result[0] not in "-."
    assert all(character.isalnum() or character == "-" for character in result)
