"""Lines of keys in a TOML text."""

import pytest

from counterpoise.experiment.locate import find_line

TEXT = """\
# preset = "comment"
preset = "demo"

[ data ]  # with spaces
classes = [
  "nuc",   # one
  "pm",
]
"datasplit" = 'a = b.csv'

[arms]
strategies = ["x"]
  seeds = 3
[arms.manual_weights]
nuc = 1
loss.alpha = 2
[[lists]]
a = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("preset",), 2),
        (("data",), 4),
        (("data", "classes"), 5),
        (("data", "classes", "1"), 5),
        (("data", "datasplit"), 9),
        (("data", "store"), 4),
        (("arms", "seeds"), 13),
        (("arms", "manual_weights"), 14),
        (("arms", "manual_weights", "nuc"), 15),
        (("arms", "manual_weights", "loss", "alpha"), 16),
        (("loss", "alpha"), None),
        (("lists", "a"), 18),
        (("nothing",), None),
        ((), None),
    ],
)
def test_the_line_of_the_longest_part_of_the_path_is_found(path: tuple[str, ...], line: int | None) -> None:
    assert find_line(TEXT, path) == line


def test_dotted_and_inline_keys_are_found() -> None:
    assert find_line('x = 1\nloss . "alpha" = 2\n', ("loss", "alpha")) == 2
    assert find_line("loss = { alpha = 2 }\n", ("loss", "alpha")) == 1


def test_the_first_of_equal_places_wins() -> None:
    assert find_line("[loss]\n[loss.more]\n[loss]\n", ("loss", "beta")) == 1
