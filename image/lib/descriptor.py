"""The OVF descriptor: the template with this build's values.

usage: descriptor.py TEMPLATE PRODUCT-FOLDER DISK.qcow2 DISK.vmdk
"""

import json
import os
import re
import subprocess
import sys
from xml.dom import minidom
from xml.sax.saxutils import escape

# In bus order; the agent names them after it.
INTERFACES = ["management", "failover", "data0", "data1"]
INTERFACE = """      <Item>
        <rasd:AddressOnParent>{order}</rasd:AddressOnParent>
        <rasd:AutomaticAllocation>{connected}</rasd:AutomaticAllocation>
        <rasd:Connection>{name}</rasd:Connection>
        <rasd:ElementName>{name}</rasd:ElementName>
        <rasd:InstanceID>{id}</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>"""


def text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def main(template, product, disk, vmdk):
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text(f"{product}/release"), re.M))
    about = json.loads(subprocess.run(["qemu-img", "info", "--output=json", disk], check=True, capture_output=True).stdout)
    values = {
        "DISK": os.path.basename(vmdk),
        "SIZE": os.path.getsize(vmdk),
        "CAPACITY": about["virtual-size"],
        "POPULATED": os.path.getsize(vmdk),
        "LICENCE": text(f"{product}/licence"),
        **{key: release.get(key, "") for key in ("MODEL", "VERSION", "BUILD")},
    }
    descriptor = text(template).replace("@INTERFACES@", "\n".join(
        INTERFACE.format(order=7 + i, id=10 + i, name=name, connected="true" if i < 2 else "false")
        for i, name in enumerate(INTERFACES)))
    descriptor = re.sub(r"@([A-Z]+)@", lambda found: escape(str(values[found[1]]), {'"': "&quot;"}), descriptor)
    minidom.parseString(descriptor.encode())
    print(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
