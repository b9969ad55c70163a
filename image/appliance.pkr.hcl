# The appliance out of a disk with Debian: provisioned over SSH, by a key that lives as long as this build.

variable "base" { type = string }
variable "output" { type = string }
variable "parts" { type = string }
variable "key" { type = string }

source "qemu" "appliance" {
  iso_url          = var.base
  iso_checksum     = "none"
  disk_image       = true
  skip_resize_disk = true
  skip_compaction  = true
  format           = "qcow2"
  disk_interface   = "virtio"
  disk_discard     = "unmap"
  disk_cache       = "unsafe"
  output_directory = var.output
  vm_name          = "appliance.qcow2"

  accelerator         = "tcg"
  machine_type        = "q35"
  headless            = true
  use_default_display = true
  boot_wait           = "1s"
  cpus                = 2
  memory              = 1024
  qemuargs = [
    ["-machine", "q35"],
    ["-accel", "tcg,thread=multi,tb-size=512"],
    ["-cpu", "max"],
    ["-display", "none"],
    # Nothing but this port, on loopback, and out of the guest nothing.
    ["-netdev", "user,id=user.0,net=192.168.45.0/24,restrict=on,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-192.168.45.45:22"],
    ["-smbios", "type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root=${base64encode(file("${var.key}.pub"))}"],
    ["-serial", "file:${var.output}.console"],
  ]

  communicator           = "ssh"
  ssh_username           = "root"
  ssh_private_key_file   = var.key
  ssh_timeout            = "5m"
  ssh_handshake_attempts = 200
  shutdown_command       = "sh /run/parts/seal"
  shutdown_timeout       = "2m"
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "file" {
    source      = var.parts
    destination = "/run/parts.tar"
  }

  provisioner "shell" {
    execute_command = "sh -eu {{ .Path }}"
    remote_folder   = "/run"
    skip_clean      = true
    inline = [
      "tar -xf /run/parts.tar -C /run",
      "sh /run/parts/provision",
    ]
  }
}
