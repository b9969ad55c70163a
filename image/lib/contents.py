"""What an image consists of: packages.tsv, files.tsv and a CycloneDX bill of materials, sbom.cdx.json.

usage: contents.py ROOT OUT, in the workspace's folder
"""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
import uuid
from urllib.parse import quote

BOOT_LOADERS = ["syslinux", "syslinux-common", "systemd-boot-efi"]
FIELDS = "${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${source:Version}\\t${Homepage}\\n"


def installed(arguments):
    """Debian packages, a dictionary each."""
    said = subprocess.run(["dpkg-query", *arguments], check=True, capture_output=True, text=True).stdout
    names = ["name", "version", "architecture", "source", "source_version", "homepage"]
    return [dict(zip(names, line.split("\t"))) for line in said.splitlines()]


def names_of(path):
    with open(path, encoding="utf-8") as lines:
        return {int(line.split(":")[2]): line.split(":")[0] for line in lines if line.count(":") > 2}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(root):
    """Path, type, mode, owner, group, size, digest or target: a line each."""
    users, groups = names_of(f"{root}/etc/passwd"), names_of(f"{root}/etc/group")
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names + [link for link in folders if os.path.islink(f"{folder}/{link}")]) + [""]:
            path = os.path.join(folder, name) if name else folder
            about = os.lstat(path)
            kind, size, content = "other", "", ""
            if stat.S_ISLNK(about.st_mode):
                kind, content = "link", os.readlink(path)
            elif stat.S_ISDIR(about.st_mode):
                kind = "folder"
            elif stat.S_ISREG(about.st_mode):
                kind, size, content = "file", str(about.st_size), digest(path)
            owner = users.get(about.st_uid, str(about.st_uid))
            group = groups.get(about.st_gid, str(about.st_gid))
            shown = "/" + os.path.relpath(path, root).removeprefix(".")
            yield "\t".join([shown, kind, f"{stat.S_IMODE(about.st_mode):04o}", owner, group, size, content])


def licences_of(root, package):
    """The short names in a machine-readable copyright file."""
    try:
        with open(f"{root}/usr/share/doc/{package}/copyright", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    if "copyright-format" not in text[:300]:
        return []
    return sorted(set(re.findall(r"^License:[ \t]*(\S[^\n]*)$", text, re.M)))[:40]


def debian(package, distribution, root=None):
    purl = f"pkg:deb/debian/{quote(package['name'])}@{quote(package['version'], safe='.+~-')}?arch={package['architecture']}&distro={distribution}"
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "purl": purl,
        "properties": [
            {"name": "debian:source", "value": package["source"]},
            {"name": "debian:source-version", "value": package["source_version"]},
        ],
    }
    if root and (licences := licences_of(root, package["name"])):
        component["licenses"] = [{"license": {"name": licence}} for licence in licences]
    if package["homepage"]:
        component["externalReferences"] = [{"type": "website", "url": package["homepage"]}]
    return component


def crates():
    """What the programs are linked with, out of Cargo's own resolution."""
    said = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"],
        check=True, capture_output=True, text=True).stdout
    metadata = json.loads(said)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    with open("Cargo.lock", "rb") as lock:
        digests = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(lock)["package"]}
    waiting = [id for id, package in packages.items() if package["name"] in ("reinstate-agent", "reinstate-shell", "reinstate-sftp")]
    reached = set()
    while waiting:
        id = waiting.pop()
        if id in reached:
            continue
        reached.add(id)
        waiting += [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    for id in sorted(reached, key=lambda id: (packages[id]["name"], packages[id]["version"])):
        package = packages[id]
        purl = f"pkg:cargo/{package['name']}@{quote(package['version'], safe='.-')}"
        component = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
        if package["license"]:
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if checksum := digests.get((package["name"], package["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        yield component


def key_values(path):
    with open(path, encoding="utf-8") as lines:
        return dict((k, v.strip('"')) for k, _, v in (line.strip().partition("=") for line in lines))


def main(root, out):
    packages = installed([f"--admindir={root}/var/lib/dpkg", "-W", "-f", FIELDS])
    release, system = key_values(f"{root}/etc/appliance/release"), key_values(f"{root}/etc/os-release")
    distribution = f"debian-{system['VERSION_ID']}"

    with open(f"{out}/packages.tsv", "w", encoding="utf-8") as file:
        file.write("package\tversion\tarchitecture\tsource\tsource version\n")
        for package in packages:
            file.write("\t".join(list(package.values())[:5]) + "\n")
    listed = list(files(root))
    with open(f"{out}/files.tsv", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("path\ttype\tmode\towner\tgroup\tsize\tsha256 or target\n")
        file.write("\n".join(listed) + "\n")

    loaders = installed(["-W", "-f", FIELDS, *BOOT_LOADERS])
    host = key_values("/etc/os-release")
    components = [debian(package, distribution, root) for package in packages]
    components += [debian(package, f"debian-{host.get('VERSION_ID', '')}") for package in loaders]
    components += list(crates())
    # One component once: a loader may be a package of the image as well.
    components = list({component["bom-ref"]: component for component in components}.values())
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(chr(10).join(listed).encode(errors='surrogateescape')).hexdigest())}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "operating-system",
                "bom-ref": "appliance",
                "name": release["MODEL"],
                "version": f"{release['VERSION']}-{release['BUILD']}",
            },
        },
        "components": components,
    }
    with open(f"{out}/sbom.cdx.json", "w", encoding="utf-8") as file:
        json.dump(bill, file, indent=1)
        file.write("\n")
    print(f"{len(packages)} packages, {len(listed)} paths, {len(components)} components in the bill of materials")


if __name__ == "__main__":
    main(*sys.argv[1:])
