"""NVIDIA's GPUs through its management library (NVML): what they are, how busy they are, whether they still answer.

NVML needs no CUDA context, so asking takes no memory from the cards. It numbers them as ``nvidia-smi`` does, and it
ignores ``CUDA_VISIBLE_DEVICES`` [1]_. Where a job or container may not open a card, asking for its handle fails with
"no permission" although it is counted [1]_; CUDA does not see such a card at all, and numbers the others.

A card in MIG mode is divided into instances with UUIDs of their own. A process can use one of them, and no longer the
card as a whole [2]_. Utilisation is unknown for instances [1]_.

References
----------
.. [1] NVIDIA, "NVML API Reference Guide": nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2,
   nvmlDeviceGetMigDeviceHandleByIndex, nvmlDeviceGetUtilizationRates.
.. [2] NVIDIA, "Multi-Instance GPU User Guide": "Device Enumeration".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psutil

from counterpoise.machine.gpus import Gpu, GpuLoad
from counterpoise.machine.visible import ListFault, Names, VisibleDevices, choose_visible

__all__ = ["find_nvidia", "gpu_answers", "read_gpu_load"]

_FIRST_WITH_BFLOAT16 = 8
"""Compute capability of Ampere (A100, RTX 30)."""


@dataclass(frozen=True)
class _Device:
    """A card, or a part of one: NVML's handles of itself and of the whole card, and its names for CUDA."""

    handle: Any
    card: Any
    names: Names


def find_nvidia(environment: Mapping[str, str]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find the NVIDIA GPUs this process may use.

    Parameters
    ----------
    environment : mapping
        Of this process; for ``CUDA_VISIBLE_DEVICES`` see :func:`counterpoise.machine.visible.choose_visible`.

    Returns
    -------
    tuple of Gpu
        In the order in which CUDA would number them.
    tuple of str
        What limits them, and why there are none.
    """
    notes: list[str] = []
    with _management_library() as nvml:
        if nvml is None:
            return (), (_no_driver(environment),)
        try:
            cards = _list_cards(nvml, notes)
        except nvml.NVMLError as error:
            return (), (f"the NVIDIA driver does not answer ({error})",)
        found = {device.names[0]: _describe(nvml, device, notes) for card in cards for device in card}
    if (given := environment.get("NVIDIA_VISIBLE_DEVICES", "all")) not in {"", "all"}:
        notes.append(f"NVIDIA_VISIBLE_DEVICES={given}: the GPUs of this container")
    uuids = tuple(found)
    if (text := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        visible = choose_visible(text, [[device.names for device in card] for card in cards])
        notes.append(f"CUDA_VISIBLE_DEVICES={text} leaves {len(visible.uuids)} of {len(uuids)} GPUs{_fault(visible)}")
        uuids = visible.uuids
        is_by_number, are_alike = text.strip()[:1].isdigit(), len({gpu.name for gpu in found.values() if gpu}) <= 1
        if uuids and is_by_number and not are_alike and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            notes.append(
                "the GPUs differ, and CUDA_DEVICE_ORDER is not PCI_BUS_ID: numbers in CUDA_VISIBLE_DEVICES are read "
                "as those of nvidia-smi; CUDA by itself would give the fastest GPU number 0"
            )
    gpus = [gpu for uuid in uuids if (gpu := found[uuid]) is not None]
    return tuple(replace(gpu, index=k) for k, gpu in enumerate(gpus)), tuple(notes)


def read_gpu_load() -> tuple[GpuLoad, ...]:
    """Ask every GPU that may be opened how busy it is; those that do not answer are missing."""
    with _management_library() as nvml:
        if nvml is None:
            return ()
        try:
            devices = [device for card in _list_cards(nvml, []) for device in card]
        except nvml.NVMLError:
            return ()
        loads = (_describe_load(nvml, index, device) for index, device in enumerate(devices))
        return tuple(load for load in loads if load is not None)


def gpu_answers(address: str) -> bool:
    """Tell whether a GPU is still there: cards can fall off the bus, and every process on them dies.

    Parameters
    ----------
    address : str
        A UUID as in :attr:`counterpoise.machine.gpus.Gpu.address`, of a card or of a part of one (``MIG-...``);
        empty for a device that NVML cannot ask, which is taken to be there.
    """
    if not address:
        return True
    with _management_library() as nvml:
        if nvml is None:
            return False
        try:
            # Both kinds of UUID are understood (nvmlDeviceGetHandleByUUID).
            _memory(nvml, nvml.nvmlDeviceGetHandleByUUID(address))
        except nvml.NVMLError:
            return False
    return True


@contextmanager
def _management_library() -> Iterator[Any]:
    """Open NVIDIA's management library; None where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


# Cards and their parts ----------------------------------------------------------------------------------------


def _list_cards(nvml: Any, notes: list[str]) -> list[list[_Device]]:
    """List the devices of every card that may be opened and answers: itself, or its parts if it is divided."""
    cards: list[list[_Device]] = []
    hidden, count = 0, nvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            cards.append(_list_devices(nvml, handle, _text(nvml.nvmlDeviceGetUUID(handle))))
        except nvml.NVMLError_NoPermission:
            hidden += 1
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} skipped: it does not answer ({error})")
        else:
            if not cards[-1]:
                notes.append(f"GPU {index} skipped: it is divided (MIG), and no part of it may be used here")
    if hidden:
        notes.append(f"{hidden} of {count} GPUs may not be used here: they belong to others")
    return cards


def _list_devices(nvml: Any, handle: Any, uuid: str) -> list[_Device]:
    """List the instances of a divided card, or the card itself if it is whole."""
    is_divided, _ = _ask(nvml.nvmlDeviceGetMigMode, handle, (False, False))  # card or driver may be older than MIG
    if not is_divided:
        return [_Device(handle, handle, (uuid,))]
    parts = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            name = _text(nvml.nvmlDeviceGetUUID(part))
            numbers = (nvml.nvmlDeviceGetGpuInstanceId(part), nvml.nvmlDeviceGetComputeInstanceId(part))
        except nvml.NVMLError:  # there is none of this number, or it is not ours
            continue
        # The second name is that of drivers before R470, which later ones still understand.
        parts.append(_Device(part, handle, (name, "MIG-{}/{}/{}".format(uuid, *numbers))))
    return parts


def _describe(nvml: Any, device: _Device, notes: list[str]) -> Gpu | None:
    """Describe a device; None, and a note, if it does not answer or accepts no program."""
    try:
        total, free = _memory(nvml, device.handle)
        major, _ = nvml.nvmlDeviceGetCudaComputeCapability(device.card)
        name = _text(nvml.nvmlDeviceGetName(device.handle))
    except nvml.NVMLError as error:
        notes.append(f"{device.names[0]} skipped: it does not answer ({error})")
        return None
    mode = _ask(nvml.nvmlDeviceGetComputeMode, device.card, nvml.NVML_COMPUTEMODE_DEFAULT)
    if mode == nvml.NVML_COMPUTEMODE_PROHIBITED:
        notes.append(f"{name} ({device.names[0]}) skipped: it accepts no program (compute mode prohibited)")
        return None
    return Gpu(
        index=0,
        address=device.names[0],
        name=name,
        memory_bytes=total,
        free_bytes=free,
        bfloat16=major >= _FIRST_WITH_BFLOAT16,
        processes=len(_ask(nvml.nvmlDeviceGetComputeRunningProcesses, device.handle, ())),
        is_exclusive=mode == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
    )


def _describe_load(nvml: Any, index: int, device: _Device) -> GpuLoad | None:
    """Describe how busy a device is; None if it no longer answers."""
    try:
        total, free = _memory(nvml, device.handle)
        name = _text(nvml.nvmlDeviceGetName(device.handle))
    except nvml.NVMLError:
        return None
    rates = _ask(nvml.nvmlDeviceGetUtilizationRates, device.handle, None)  # unknown for parts of a divided card
    return GpuLoad(index, name, None if rates is None else rates.gpu / 100.0, total - free, total)


def _ask(function: Callable[[Any], Any], handle: Any, otherwise: Any) -> Any:
    """Ask what older drivers and some virtual cards do not tell."""
    import pynvml

    try:
        return function(handle)
    except pynvml.NVMLError:
        return otherwise


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    """Return total and free memory; the machine's own where a GPU shares it (and NVML says "not supported")."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        shared = psutil.virtual_memory()
        return shared.total, shared.available
    return int(memory.total), int(memory.free)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# What is said about them ----------------------------------------------------------------------------------------


def _no_driver(environment: Mapping[str, str]) -> str:
    given = environment.get("NVIDIA_VISIBLE_DEVICES")
    if given is None:
        return "no NVIDIA driver"
    # Set by images or when a container is started; NVIDIA's container toolkit then mounts the driver.
    return f"no NVIDIA driver (NVIDIA_VISIBLE_DEVICES={given}: was the container started with --gpus, or --nv?)"


def _fault(visible: VisibleDevices) -> str:
    if visible.fault is None:
        return ""
    return {
        ListFault.UNKNOWN: f": the list ends at {visible.entry!r}, which names none of them",
        ListFault.REPEATED: f": {visible.entry!r} names a device for the second time, and CUDA then shows none",
    }[visible.fault]
