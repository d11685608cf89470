"""Loop devices of image files that pods use as block devices. All calls block.

The kernel is the only book: a device is found again by the file behind it.
"""

from pathlib import Path

from kybern.kubelet.volumes.filesystem import run


def find(image: Path) -> Path | None:
    """The device that an image is attached to."""
    found = run("losetup", "--noheadings", "--output", "NAME", "--associated", image)
    names = found.stdout.split()
    return Path(names[0]) if names else None


def attach(image: Path) -> Path:
    """The image's device, attached if it is not yet; it takes the size that the file has now."""
    device = find(image)
    if device is None:
        return Path(run("losetup", "--find", "--show", image).stdout.strip())
    return device


def grow(image: Path) -> None:
    """Let an attached device have the size that its file has got."""
    if device := find(image):
        run("losetup", "--set-capacity", device)


def detach(image: Path) -> None:
    """Give an image's device back; none is no error."""
    if device := find(image):
        run("losetup", "--detach", device)
