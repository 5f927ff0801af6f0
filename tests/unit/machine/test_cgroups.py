"""Control groups, written as the kernel shows them: both versions, nested, inside and outside of containers."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.machine.cgroups import _share, _unescape, read_group_limits, read_group_memory
from counterpoise.machine.limits import Limit, Resource

GIB = 1 << 30

Write = Callable[[Mapping[str, str]], Path]

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 30 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 {root} /sys/fs/cgroup/memory rw,nosuid shared:10 master:2 - cgroup cgroup rw,memory\n"
    "33 30 0:29 {root} /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,name=systemd\n"
)
NO_LIMIT = "9223372036854771712\n"
"""What version 1 shows without a limit on a machine with pages of 4 KiB."""


def v2(own: str, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a machine with version 2; those of groups are named from the mount."""
    return {
        "proc/self/cgroup": f"0::{own}\n",
        "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n" + V2_MOUNT,
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }


def v1(own: str, files: Mapping[str, str], *, root: str = "/") -> dict[str, str]:
    """Return the files of a machine with version 1."""
    return {
        "proc/self/cgroup": f"4:memory:{own}\n2:cpu,cpuacct:{own}\n1:name=systemd:{own}\n",
        "proc/self/mountinfo": V1_MOUNTS.format(root=root),
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }


def tightest(root: Path) -> tuple[float | None, float | None]:
    return min(amounts(root, Resource.CORES), default=None), min(amounts(root, Resource.MEMORY), default=None)


def amounts(root: Path, resource: Resource) -> list[float]:
    limits = read_group_limits(root)
    assert all(limit.amount is not None for limit in limits)
    return [limit.amount for limit in limits if limit.resource is resource and limit.amount is not None]


# Version 2 ----------------------------------------------------------------------------------------------------


def test_the_tightest_limit_on_the_way_up_counts_whichever_group_sets_it(write_system: Write) -> None:
    files = {
        "memory.max": "max\n",  # the root group has none in reality; nothing is lost by looking
        "job.slice/cpu.max": "150000 100000\n",
        "job.slice/memory.max": f"{8 * GIB}\n",
        "job.slice/step/cpu.max": "400000 100000\n",
        "job.slice/step/memory.max": f"{20 * GIB}\n",
        "job.slice/step/task/cpu.max": "max 100000\n",
        "job.slice/step/task/memory.max": "max\n",
        "other.slice/cpu.max": "1000 100000\n",  # not above us
        "other.slice/memory.max": "4096\n",
    }
    root = write_system(v2("/job.slice/step/task", files))
    assert tightest(root) == (1.5, 8 * GIB)
    assert tightest(write_system({"proc/self/cgroup": "0::/job.slice/step\n"})) == (1.5, 8 * GIB)
    assert tightest(write_system({"proc/self/cgroup": "0::/\n"})) == (None, None)


def test_a_limit_names_the_file_that_sets_it(write_system: Write) -> None:
    root = write_system(v2("/a/b", {"a/cpu.max": "200000 100000\n", "a/b/memory.max": f"{GIB}\n"}))
    assert read_group_limits(root) == [
        Limit(Resource.CORES, 2.0, str(root / "sys/fs/cgroup/a/cpu.max")),
        Limit(Resource.MEMORY, GIB, str(root / "sys/fs/cgroup/a/b/memory.max")),
    ]


@pytest.mark.parametrize(
    ("most", "high", "gib"), [("max", 3, 3), (4, "max", 4), (4, 3, 3), (3, 4, 3), ("max", "max", None)]
)
def test_memory_high_limits_as_memory_max_does(
    most: int | str, high: int | str, gib: int | None, write_system: Write
) -> None:
    def text(value: int | str) -> str:
        return f"{value * GIB if isinstance(value, int) else value}\n"

    root = write_system(v2("/a", {"a/memory.max": text(most), "a/memory.high": text(high)}))
    assert tightest(root) == (None, gib * GIB if gib is not None else None)


def test_inside_a_container_the_own_group_is_the_mounted_one(write_system: Write) -> None:
    # A namespace of its own: the name is "/", and what is mounted is the container's group.
    assert tightest(write_system(v2("/", {"cpu.max": "50000 100000\n", "memory.max": f"{GIB}\n"}))) == (0.5, GIB)


@pytest.mark.parametrize("own", ["/kubepods/pod1/abc", "/../../other", "/.."])
def test_a_name_of_the_world_outside_leads_to_what_is_mounted(own: str, write_system: Write) -> None:
    outside = {f"sys/{name}memory.max": "4096\n" for name in ("", "fs/", "other/")}
    root = write_system(v2(own, {"cpu.max": "50000 100000\n", "memory.max": f"{GIB}\n"}) | outside)
    assert tightest(root) == (0.5, GIB)


# Version 1 ----------------------------------------------------------------------------------------------------


def test_version_1_is_read_from_the_folders_of_its_controllers(write_system: Write) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/slurm/cpu.cfs_quota_us": "1250000\n",
        "cpu,cpuacct/slurm/cpu.cfs_period_us": "50000\n",
        "cpu,cpuacct/slurm/job/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/slurm/job/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/slurm/memory.limit_in_bytes": NO_LIMIT,
        "memory/slurm/job/memory.limit_in_bytes": f"{12 * GIB}\n",
    }
    assert tightest(write_system(v1("/slurm/job", files))) == (25.0, 12 * GIB)
    assert tightest(write_system({"proc/self/cgroup": "4:memory:/slurm\n2:cpu,cpuacct:/\n"})) == (None, None)


def test_a_container_of_version_1_shows_its_own_group_under_the_name_it_has_outside(write_system: Write) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": f"{4 * GIB}\n",
    }
    assert tightest(write_system(v1("/docker/abc", files, root="/docker/abc"))) == (3.0, 4 * GIB)
    # And a group below the container's own.
    below = {**files, "memory/mine/memory.limit_in_bytes": f"{2 * GIB}\n"}
    assert tightest(write_system(v1("/docker/abc/mine", below, root="/docker/abc"))) == (3.0, 2 * GIB)


def test_a_limit_of_a_group_that_cannot_be_seen_is_in_the_statistics(write_system: Write) -> None:
    files = {
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/memory.stat": f"cache 4096\nrss 100\nhierarchical_memory_limit {5 * GIB}\nhierarchical_memsw_limit 9\n",
    }
    root = write_system(v1("/lxc/abc", files, root="/lxc/abc"))
    assert tightest(root) == (None, 5 * GIB)
    assert "hierarchical_memory_limit" in read_group_limits(root)[0].source


def test_a_limit_that_can_be_seen_is_named_by_its_own_file(write_system: Write) -> None:
    stat = f"hierarchical_memory_limit {5 * GIB}\n"
    files = {
        "memory/a/memory.limit_in_bytes": f"{5 * GIB}\n",
        "memory/a/memory.stat": stat,
        "memory/a/b/memory.stat": stat,
    }
    limits = read_group_limits(write_system(v1("/a/b", files)))
    assert limits[0].source.endswith("memory/a/memory.limit_in_bytes")
    assert [limit.amount for limit in limits] == [5 * GIB] * 3


def test_both_versions_side_by_side_are_both_read(write_system: Write) -> None:
    # systemd's hybrid layout: version 2 has no controllers, or some of them.
    files = v1("/a", {"memory/a/memory.limit_in_bytes": f"{6 * GIB}\n", "unified/a/cpu.max": "200000 100000\n"})
    files["proc/self/cgroup"] += "0::/a\n"
    files["proc/self/mountinfo"] += "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    assert tightest(write_system(files)) == (2.0, 6 * GIB)


# What makes no sense, and what is not there ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cpu.max", "nonsense"),
        ("cpu.max", "0 100000"),
        ("cpu.max", "-5 100000"),
        ("cpu.max", "100000 0"),
        ("cpu.max", "100000"),
        ("cpu.max", "² ²"),
        ("cpu.max", "9" * 5000 + " 100000"),
        ("memory.max", "much"),
        ("memory.max", "0"),
        ("memory.high", "-1"),
    ],
)
def test_values_that_make_no_sense_have_no_amount(name: str, content: str, write_system: Write) -> None:
    (limit,) = read_group_limits(write_system(v2("/", {name: content})))
    assert limit.amount is None
    assert limit.resource is (Resource.CORES if name == "cpu.max" else Resource.MEMORY)
    assert limit.source.endswith(f"{name} ({content!r})")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "", "proc/self/mountinfo": ""},
        {"proc/self/cgroup": "0::/\nhalf a line\n:::\n", "proc/self/mountinfo": "x - cgroup2\n- - -\n \n1 2 3\n"},
    ],
)
def test_where_there_are_no_groups_nothing_limits(files: dict[str, str], write_system: Write) -> None:
    root = write_system(files)
    assert read_group_limits(root) == []
    assert read_group_memory(root) is None


def test_mount_points_with_blanks_are_found(write_system: Write) -> None:
    files = v2("/", {})
    files["proc/self/mountinfo"] = V2_MOUNT.replace("/sys/fs/cgroup", "/my\\040groups")
    files["my groups/memory.max"] = f"{GIB}\n"
    assert tightest(write_system(files)) == (None, GIB)
    assert _unescape(r"a\040b\134c") == "a b\\c"


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_quota_is_a_share_of_its_period(quota: int, period: int) -> None:
    share = _share(f"{quota} {period}")
    assert share is not None
    assert share * period == pytest.approx(quota)


# How much is used -----------------------------------------------------------------------------------------------


def test_used_memory_leaves_out_files_that_can_be_read_again(write_system: Write) -> None:
    files = {
        "a/memory.max": f"{8 * GIB}\n",
        "a/memory.current": f"{7 * GIB}\n",
        "a/memory.stat": f"anon {2 * GIB}\ninactive_file {3 * GIB}\nactive_file {GIB}\nslab_reclaimable {GIB // 2}\n",
    }
    use = read_group_memory(write_system(v2("/a", files)))
    assert use is not None
    assert (use.used_bytes, use.limit_bytes, use.left_bytes) == (5 * GIB // 2, 8 * GIB, 11 * GIB // 2)


def test_in_version_1_the_statistics_of_all_groups_below_are_used(write_system: Write) -> None:
    files = {
        "memory/a/memory.limit_in_bytes": f"{8 * GIB}\n",
        "memory/a/memory.usage_in_bytes": f"{7 * GIB}\n",
        "memory/a/memory.stat": f"inactive_file 1\nactive_file 2\ntotal_inactive_file {2 * GIB}\ntotal_active_file 0\n",
    }
    use = read_group_memory(write_system(v1("/a", files)))
    assert use is not None
    assert use.used_bytes == 5 * GIB


def test_the_group_with_least_left_is_shown_not_the_one_with_the_lowest_limit(write_system: Write) -> None:
    files = {
        "a/memory.max": f"{16 * GIB}\n",
        "a/memory.current": f"{15 * GIB}\n",  # others are in it, too
        "a/b/memory.max": f"{8 * GIB}\n",
        "a/b/memory.current": f"{2 * GIB}\n",
    }
    use = read_group_memory(write_system(v2("/a/b", files)))
    assert use is not None
    assert (use.used_bytes, use.limit_bytes) == (15 * GIB, 16 * GIB)


def test_a_group_without_a_limit_has_nothing_to_show(write_system: Write) -> None:
    assert read_group_memory(write_system(v2("/a", {"a/memory.max": "max\n", "a/memory.current": "5\n"}))) is None
