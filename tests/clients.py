"""Clients that nobody has changed for this appliance: netmiko's driver for firewalls of this kind, its general ones, paramiko, and
pexpect over a stock ssh. They log in through the shipped SSH server; the first has a whole restore done."""

import json
import re
import subprocess
import sys
import time

import netmiko
import paramiko
import pexpect

PATIENCE = 120
failed = []


class Appliance:
    """What `login` holds open."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.said()

    def said(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("login has ended")
        return json.loads(line)

    def restarted(self):
        self.process.stdin.write("restarted\n")
        self.process.stdin.flush()
        return self.said()["outcome"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)

    def __getattr__(self, name):
        return self.about[name]


def case(name):
    """Runs a function as one case."""

    def run(function):
        begun = time.monotonic()
        try:
            function()
        except Exception as error:  # Each case is told of, whatever goes wrong in it.
            failed.append(name)
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)

    return run


def connected(driver, password=None, **options):
    return netmiko.ConnectHandler(
        device_type=driver,
        host=appliance.host,
        port=appliance.port,
        username=appliance.user,
        password=password or appliance.password,
        **options,
    )


def version(text):
    found = re.search(r"Version ([0-9.]+) \(Build ([0-9]+)\)", text)
    assert found and found.groups() == ("7.4.1", "172"), text


def network(text):
    assert re.search(r"^=+\[ System Information \]=+$", text, re.M), text
    assert re.search(r"^Hostname +: \S+$", text, re.M), text
    assert re.search(r"\[ IPv4 \]", text) and re.search(r"^Netmask +: [0-9.]+$", text, re.M), text


def restore_line():
    return (
        f"restore remote-manager-backup location {appliance.server} {appliance.server_user} "
        f"{appliance.folder} backup {appliance.file}"
    )


appliance = Appliance(sys.argv[1])
print(f"netmiko {netmiko.__version__}, paramiko {paramiko.__version__}, pexpect {pexpect.__version__}", flush=True)


@case("cisco_ftd: logs in with a password, finds the prompt, and reads versions and addresses")
def _():
    with connected("cisco_ftd") as session:
        assert session.find_prompt() == ">", session.find_prompt()
        version(session.send_command("show version"))
        network(session.send_command("show network"))
        assert session.send_command("show managers").strip() == "No managers configured."
        # A line that is not understood leaves the session where it was.
        assert "Syntax error: Illegal command line" in session.send_command("show nothing")
        version(session.send_command("show version"))
        assert not session.check_config_mode()


@case("cisco_ftd: reads what is longer than a screen without a pager")
def _():
    with connected("cisco_ftd") as session:
        text = session.send_command("help")
        assert "--More--" not in text and "restore rollback" in text and "logout" in text, text


@case("cisco_ftd: by timing, without knowing the prompt")
def _():
    with connected("cisco_ftd") as session:
        version(session.send_command_timing("show version"))


def general(driver):
    @case(f"{driver}: reads versions and addresses")
    def _():
        with connected(driver) as session:
            version(session.send_command("show version"))
            network(session.send_command("show network"))


for driver in ["generic", "terminal_server", "cisco_ios"]:
    general(driver)


def client():
    ssh = paramiko.SSHClient()
    ssh.load_host_keys(appliance.known_hosts)
    ssh.connect(
        appliance.host, appliance.port, appliance.user, appliance.password, look_for_keys=False, allow_agent=False
    )
    return ssh


def until(channel, pattern):
    text, end = "", time.monotonic() + PATIENCE
    while not re.search(pattern, text):
        channel.settimeout(max(0.1, end - time.monotonic()))
        piece = channel.recv(65536)
        assert piece, f"the session has ended: {text!r}"
        text += piece.decode()
    return text


def invoked(name, end, **size):
    @case(f"paramiko invoke_shell: {name}")
    def _():
        ssh = client()
        channel = ssh.invoke_shell(**size)
        until(channel, r"> $")
        channel.send(f"show version{end}")
        text = until(channel, r"(?s)UUID.*\r\n> $")
        # The echo is what was typed, and then the line's end.
        assert text.startswith("show version\r\n"), text
        version(text)
        # Of a dumb terminal the driver of terminals does the editing.
        clear = "" if size.get("term") == "dumb" else "\x01\x0b"
        channel.send(f"{clear}show managers{end}")
        text = until(channel, r"\r\n> $")
        assert "No managers configured." in text, text
        channel.send(f"exit{end}")
        while channel.recv(65536):
            pass
        assert channel.recv_exit_status() == 0
        ssh.close()


invoked("80x24, CR", "\r", width=80, height=24)
invoked("80x24, LF", "\n", width=80, height=24)
invoked("80x24, CR LF", "\r\n", width=80, height=24)
invoked("511x1000, CR", "\r", width=511, height=1000)
invoked("511x1000, LF", "\n", width=511, height=1000)
invoked("no size", "\n", width=0, height=0)
invoked("dumb, no size", "\n", term="dumb", width=0, height=0)


@case("paramiko: a shell without a terminal")
def _():
    ssh = client()
    channel = ssh.get_transport().open_session()
    channel.invoke_shell()
    channel.send("show version\nexit\n")
    text = until(channel, r"UUID")
    version(text)
    assert channel.recv_exit_status() == 0
    ssh.close()


@case("paramiko exec_command: one command on a channel, with its exit status")
def _():
    ssh = client()
    for command, status in [("show version", 0), ("show managers", 0), ("show nothing", 2), ("expert", 1)]:
        _, out, _ = ssh.exec_command(command)
        text = out.read().decode()
        assert out.channel.recv_exit_status() == status, (command, text)
        if command == "show version":
            version(text)
    ssh.close()


def stock(*words, **options):
    return pexpect.spawn(
        "ssh",
        ["-p", str(appliance.port), "-F", "/dev/null", "-o", f"UserKnownHostsFile={appliance.known_hosts}"]
        + ["-o", "PubkeyAuthentication=no", f"{appliance.user}@{appliance.host}", *words],
        encoding="utf-8",
        timeout=PATIENCE,
        **options,
    )


def expected(name, **options):
    @case(f"pexpect over a stock ssh: {name}")
    def _():
        ssh = stock(**options)
        ssh.expect("[Pp]assword: ")
        ssh.sendline(appliance.password)
        ssh.expect(r"\r\n> $|^> $|> $")
        ssh.sendline("show version")
        ssh.expect_exact("show version\r\n")
        ssh.expect(r"\r\n> $")
        version(ssh.before)
        ssh.sendline("logout")
        ssh.expect(pexpect.EOF)
        ssh.close()
        assert ssh.exitstatus == 0, ssh.exitstatus


expected("a terminal of 80 columns", dimensions=(100, 80))
expected("a wide terminal", dimensions=(1000, 511))


@case("pexpect over a stock ssh: one command")
def _():
    ssh = stock("show network")
    ssh.expect("[Pp]assword: ")
    ssh.sendline(appliance.password)
    ssh.expect(pexpect.EOF)
    network(ssh.before.replace("\r\n", "\n"))
    ssh.close()
    assert ssh.exitstatus == 0, ssh.exitstatus


@case("cisco_ftd: a whole restore, to the restored admin's login")
def _():
    session = connected("cisco_ftd", read_timeout_override=PATIENCE)
    text = session.send_command(restore_line(), expect_string=r"\(yes/no|[Pp]assword:|continue \(Y/N\)")
    assert appliance.fingerprint in text, text
    text += session.send_command("yes", expect_string=r"[Pp]assword: ", cmd_verify=False)
    text += session.send_command(
        appliance.server_password, expect_string=r"Are you sure you want to continue \(Y/N\)", cmd_verify=False
    )
    assert appliance.server_password not in text, text
    for line in ["Hostname", "Software Version", "Backup Filename"]:
        assert re.search(rf"^{line} += .+$", text, re.M), text
    try:
        text += session.send_command("Y", expect_string="System will now reboot", cmd_verify=False)
    except (netmiko.exceptions.ReadException, EOFError, OSError) as error:
        # A closed connection is an end too, where the words came before it.
        text += str(error)
    assert "System will now reboot" in text, text
    session.disconnect()
    outcome = appliance.restarted()
    assert "succeeded" in json.dumps(outcome), outcome

    with connected("cisco_ftd", appliance.restored_password) as session:
        text = session.send_command("show restore")
        assert re.search(r"succeeded", text), text
        text = session.send_command("show network")
        network(text)
        assert re.search(r"^Hostname +: fw-a", text, re.M), text
        version(session.send_command("show version"))
        assert "Completed" in session.send_command("show managers")


@case("the replacement's own password is none any more")
def _():
    try:
        connected("cisco_ftd").disconnect()
    except netmiko.exceptions.NetmikoAuthenticationException:
        return
    raise AssertionError("it still logs in")


appliance.end()
print(f"{len(failed)} failed" if failed else "all passed")
sys.exit(bool(failed))
