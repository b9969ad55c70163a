"""Set-id and sticky bits, which debugfs's rdump takes away, for what it has copied out of an ext4 file system.

usage: modes.py FILE-SYSTEM ROOT, the file system as debugfs takes it: FILE?offset=BYTES
"""

import os
import stat
import subprocess
import sys


def listed(disk, inodes):
    """What is in these folders: folder's inode, inode, mode, name."""
    asked = "".join(f"ls -lp <{inode}>\n" for inode in inodes)
    said = subprocess.run(["debugfs", "-f", "-", disk], check=True, capture_output=True, input=asked.encode()).stdout
    # /inode/mode/uid/gid/name/size/, each folder's own entry first.
    folder = None
    for line in said.splitlines():
        if line.startswith(b"/"):
            _, inode, mode, _, _, name, *_ = line.split(b"/")
            if name == b".":
                folder = int(inode)
            elif name != b"..":
                yield folder, int(inode), int(mode, 8), name


def main(disk, root):
    level = {2: os.fsencode(root)}
    while level:
        below = {}
        for folder, inode, mode, name in listed(disk, level):
            path = os.path.join(level[folder], name)
            if stat.S_ISDIR(mode):
                below[inode] = path
            if mode & 0o7000 and not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode))
        level = below


if __name__ == "__main__":
    main(*sys.argv[1:])
