"""NVIDIA's GPUs, asked through its management library (NVML): what they are, how busy, whether they still answer.

NVML looks without a CUDA context, so nothing is taken from the cards. It numbers them as ``nvidia-smi`` does, and it
knows nothing of ``CUDA_VISIBLE_DEVICES`` [1]_. Where a job or container may not open a card, asking for its handle
fails with "no permission" although it is counted [1]_; CUDA does not see such a card at all, and numbers the others.

A card in MIG mode is divided into instances with UUIDs of their own; a process can use one of them, and the card as a
whole is no device any more [2]_. Utilisation is not known for instances [1]_.

References
----------
.. [1] NVIDIA, "NVML API Reference Guide": nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2,
   nvmlDeviceGetMigDeviceHandleByIndex, nvmlDeviceGetUtilizationRates.
.. [2] NVIDIA, "Multi-Instance GPU User Guide": "Device Enumeration".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psutil

from counterpoise.machine.gpus import Gpu, GpuLoad
from counterpoise.machine.visible import Card, choose_visible

__all__ = ["find_nvidia", "gpu_answers", "read_gpu_load"]

_FIRST_WITH_BFLOAT16 = 8
"""Compute capability of Ampere (A100, RTX 30)."""


@dataclass(frozen=True)
class _Device:
    """A card, or a part of one: NVML's handles of itself and of the whole card, and its names for CUDA."""

    handle: Any
    card: Any
    names: tuple[str, ...]


def find_nvidia(environment: Mapping[str, str]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find the NVIDIA GPUs this process may use.

    Parameters
    ----------
    environment : mapping
        ``CUDA_VISIBLE_DEVICES`` is honoured, see :func:`counterpoise.machine.visible.choose_visible`.

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
    addresses = list(found)
    given = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    if given not in {"", "all"}:
        notes.append(f"NVIDIA_VISIBLE_DEVICES={given}: what this container was given")
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        chosen, why = choose_visible(visible, [Card(tuple(device.names for device in card)) for card in cards])
        notes.append(f"CUDA_VISIBLE_DEVICES={visible} leaves {len(chosen)} of {len(addresses)} GPUs{why}")
        names = {gpu.name for gpu in found.values() if gpu is not None}
        if chosen and visible.strip()[:1].isdigit() and len(names) > 1:
            notes += _unsure_numbers(environment)
        addresses = list(chosen)
    gpus = [gpu for gpu in (found[address] for address in addresses) if gpu is not None]
    return tuple(replace(gpu, index=k) for k, gpu in enumerate(gpus)), tuple(notes)


def read_gpu_load() -> tuple[GpuLoad, ...]:
    """Ask every GPU this process may look at how busy it is; none without a driver, and none that does not answer."""
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
        empty for everything NVML cannot ask, which is taken to be there.
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


# Cards and their parts ----------------------------------------------------------------------------------------


def _list_cards(nvml: Any, notes: list[str]) -> list[list[_Device]]:
    """List every card that may be opened and answers: itself, or its parts if it is divided."""
    cards: list[list[_Device]] = []
    hidden = 0
    count = nvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            parts = _parts(nvml, handle, uuid)
        except nvml.NVMLError_NoPermission:
            hidden += 1
            continue
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} does not answer ({error}): left out")
            continue
        if parts is None:
            cards.append([_Device(handle, handle, (uuid,))])
        else:
            cards.append(parts)
            if not parts:
                notes.append(f"GPU {index} is divided (MIG), and no part of it may be used here: left out")
    if hidden:
        notes.append(f"{hidden} of {count} GPUs may not be used here: others have them")
    return cards


def _parts(nvml: Any, handle: Any, uuid: str) -> list[_Device] | None:
    """List the instances of a divided card; None if it is whole."""
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # older than MIG: the card, or the driver
        return None
    if not current:
        return None
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
    """Describe what may be used; None, and a note, for what does not answer or lets nobody in."""
    try:
        total, free = _memory(nvml, device.handle)
        major, _ = nvml.nvmlDeviceGetCudaComputeCapability(device.card)
        name = _text(nvml.nvmlDeviceGetName(device.handle))
    except nvml.NVMLError as error:
        notes.append(f"{device.names[0]} does not answer ({error}): left out")
        return None
    mode = _compute_mode(nvml, device)
    if mode == nvml.NVML_COMPUTEMODE_PROHIBITED:
        notes.append(f"{name} ({device.names[0]}) lets no program in (compute mode prohibited): left out")
        return None
    try:
        processes = len(nvml.nvmlDeviceGetComputeRunningProcesses(device.handle))
    except nvml.NVMLError:  # older drivers, and some virtual cards, do not say
        processes = 0
    return Gpu(
        index=0,
        address=device.names[0],
        name=name,
        memory_bytes=total,
        free_bytes=free,
        bfloat16=major >= _FIRST_WITH_BFLOAT16,
        processes=processes,
        is_exclusive=mode == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
    )


def _describe_load(nvml: Any, index: int, device: _Device) -> GpuLoad | None:
    """Describe how busy a device is; None if it does not answer any more."""
    try:
        total, free = _memory(nvml, device.handle)
        name = _text(nvml.nvmlDeviceGetName(device.handle))
    except nvml.NVMLError:
        return None
    try:
        busy = nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu / 100.0
    except nvml.NVMLError:  # parts of a divided card do not say
        busy = None
    return GpuLoad(index, name, busy, total - free, total)


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    """Return memory in all and free; the machine's own where a GPU shares it (and NVML says "not supported")."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        shared = psutil.virtual_memory()
        return shared.total, shared.available
    return int(memory.total), int(memory.free)


def _compute_mode(nvml: Any, device: _Device) -> int:
    try:
        return int(nvml.nvmlDeviceGetComputeMode(device.card))
    except nvml.NVMLError:  # not every card has modes
        return int(nvml.NVML_COMPUTEMODE_DEFAULT)


def _no_driver(environment: Mapping[str, str]) -> str:
    given = environment.get("NVIDIA_VISIBLE_DEVICES")
    if given is None:
        return "no NVIDIA driver"
    # Set by images and by whoever starts the container; NVIDIA's container toolkit brings the driver in accordingly.
    return f"no NVIDIA driver (NVIDIA_VISIBLE_DEVICES={given}: was the container started with --gpus, or --nv?)"


def _unsure_numbers(environment: Mapping[str, str]) -> Iterator[str]:
    if environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        yield (
            "the cards differ, and CUDA_DEVICE_ORDER is not PCI_BUS_ID: numbers in CUDA_VISIBLE_DEVICES are read as "
            "nvidia-smi's; CUDA by itself would call the fastest card 0"
        )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


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
