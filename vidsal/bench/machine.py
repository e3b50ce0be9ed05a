"""The machine a measurement ran on: its processor and versions, and the memory this process takes of it."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

__all__ = ["bytes_in_use", "describe_machine", "describe_versions", "peak_bytes", "reset_peaks"]


def describe_machine() -> dict[str, Any]:
    """Processor, cores this process may use, instruction sets that matter here, accelerators, system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processor, flags = platform.processor() or platform.machine(), set[str]()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = [line.partition(":") for line in information.read_text(encoding="utf-8").splitlines()]
        found = {name.strip(): value.strip() for name, _, value in reversed(lines) if value}
        processor, flags = found.get("model name", processor), set(found.get("flags", "").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
    return {
        "processor": processor,
        "cores": cores,
        "instructions": [name for name in wanted if name in flags],
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "accelerators": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "system": platform.platform(),
    }


def describe_versions() -> dict[str, str]:
    """Versions of the package, of Python and of the libraries that matter for speed."""
    versions = {"python": platform.python_version(), "cuda": torch.version.cuda or ""}
    for name in ("vidsal", "torch", "numpy", "av", "opencv-python-headless", "opencv-python"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {name: version for name, version in versions.items() if version}


def reset_peaks(device: torch.device) -> None:
    """Forget the peaks so far, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        # Linux: 5 resets the peak of the resident set.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(device: torch.device) -> dict[str, int]:
    """Most bytes in use since `reset_peaks`; where that could do nothing, since the process began."""
    peaks = {"resident": _status("VmHWM")}
    if peaks["resident"] == 0 and sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 2**10
        peaks["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        peaks["allocated"] = torch.cuda.max_memory_allocated(device)
        peaks["reserved"] = torch.cuda.max_memory_reserved(device)
    return peaks


def bytes_in_use(device: torch.device) -> dict[str, int]:
    """Bytes in use now; where the system does not say, the peak so far."""
    gc.collect()
    used = {"resident": _status("VmRSS") or peak_bytes(device)["resident"]}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        used["allocated"] = torch.cuda.memory_allocated(device)
        used["reserved"] = torch.cuda.memory_reserved(device)
    return used


def _status(key: str) -> int:
    """A line of Linux's account of this process, in bytes; 0 where there is none."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{key}:\s*(\d+) kB", path.read_text(encoding="utf-8"), re.M) if path.is_file() else None
    return int(found[1]) * 2**10 if found else 0
