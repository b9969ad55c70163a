//! The `reinstated` program: its words, and who does what they ask for.

mod appliance;
mod network;
mod offline;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use lexopt::ValueExt;
use lexopt::prelude::{Long, Short, Value};
use reinstate_api::{Code, Failure};
use serde::Serialize;

use crate::files::{Direct, Steps};
use crate::firewall::Connection;
use crate::log;
use crate::platform::Program;
use crate::platform::request::{self, Request};
use crate::tail;
use crate::validate::Tree;
use appliance::{Appliance, Reply};
use network::Network;
use offline::{judge_password, lint, tell_manager};

const HELP: &str = "\
reinstated: the restore agent of an appliance

usage: reinstated [--root DIR] COMMAND

  serve               the daemon: answers on DIR/run/reinstate/agent.sock
  activate            make the pending generation the live configuration; at boot, before the network
  activate-now        the same without a restart: units that read what has changed read it again
  rescue              go back where the daemon has not decided on what was activated
  pending             fail, saying why, while a restore waits for a restart or for its decision
  snapshot N ORIGIN   the live configuration becomes generation N
  scan                list and hash the live configuration
  facts               what this appliance is
  manager-credentials what the manager is spoken to with, its private key included
  membership          the HA group that this appliance is a member of, its private keys included
  lock-service        the lock service that is configured in place of lock files
  ha-state            what the HA engine says of this appliance
  ha-resume           have the HA engine run again, with the configuration that is live
  tell-manager        one attempt to tell the manager what standard input says
  validate N|live     run the domains' checkers on a generation, or on the live configuration
  admits N|live C...  those of the connections that the firewall there does not let in: INTERFACE,FROM,TO
  units               the units whose domains' checkers do not accept the live configuration
  inactive UNIT...    those of the units that are not active
  people              the people with an account, and what they may do
  log LINES           the last lines that the agent has logged; 1 to 10000
  reboot              restart the machine to complete a restore
  restart             restart it because an admin wants that
  power-off           switch it off
  warn SECONDS restore|configure
                      tell every session that so many are left to confirm what was changed
  import [FILE]       copy a backup from the medium with the label REINSTATE
  zero-touch          restore what a medium or a credential offers, where nothing is configured yet
  name-interfaces     tell udev the logical names of the network interfaces; at boot, before udev
  probe INTERFACE MAC ADDRESS...
                      look whether other devices on the interface's link answer at the addresses
  failover-address add|remove ADDRESS/PREFIX INTERFACE MAC
                      an address for the time of a restore
  answer root|check|network
                      do what one request on standard input asks for
  judge-password USER fail, saying why, where the password on standard input is against the profile's rules
  lint DIR            check a folder with profile.d and domains.d

  --root DIR          the appliance's root folder, / by default; another folder is a sandbox
  --help, --version
";

/// Runs the program; `prefix` is how it was started, so that it can start its own verbs.
pub fn run_as(prefix: Vec<OsString>, args: impl Iterator<Item = OsString>) -> ExitCode {
    run_with(prefix, args, Arc::new(Direct))
}

/// Like [`run_as`], with a decorator for every durable step.
pub fn run_with(
    prefix: Vec<OsString>,
    args: impl Iterator<Item = OsString>,
    steps: Arc<dyn Steps>,
) -> ExitCode {
    let command = match Command::parse(args) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("reinstated: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    log::init();
    command.run(prefix, steps)
}

struct Command {
    root: PathBuf,
    verb: Verb,
}

/// What the program is asked to do.
#[derive(Debug)]
enum Verb {
    On(Work),
    Network(Network),
    NameInterfaces,
    TellManager,
    Answer(Peer),
    JudgePassword(String),
    Lint(PathBuf),
    Help,
    Version,
}

/// What is done to one appliance. Work with an answer gives it as JSON.
#[derive(Debug)]
enum Work {
    Serve,
    Activate,
    ActivateNow,
    Rescue,
    Pending,
    Snapshot { number: u64, origin: String },
    Scan,
    Facts,
    ManagerCredentials,
    Membership,
    LockService,
    HaState,
    HaResume,
    Validate(Tree),
    Admits { tree: Tree, connections: Vec<Connection> },
    Units,
    Inactive(Vec<String>),
    People,
    Log { lines: usize },
    Reboot,
    Restart,
    PowerOff,
    Warn { seconds: u64, configured: bool },
    Import(Option<String>),
    ZeroTouch,
    Confine { tree: Tree, domain: String },
}

/// Whose requests are answered, and so which verbs.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Root,
    Check,
    Network,
}

/// What a request may ask for.
enum Asked {
    Work(Work),
    Network(Network),
}

impl Command {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(args);
        let (mut root, mut words) = (PathBuf::from("/"), Vec::new());
        while let Some(arg) = parser.next()? {
            match arg {
                Long("root") => root = parser.value()?.into(),
                Long("help") | Short('h') => return Ok(Self { root, verb: Verb::Help }),
                Long("version") | Short('V') => return Ok(Self { root, verb: Verb::Version }),
                Value(word) => words.push(word),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { root, verb: Verb::parse(words)? })
    }

    fn run(self, prefix: Vec<OsString>, steps: Arc<dyn Steps>) -> ExitCode {
        let Self { root, verb } = self;
        let root = root.canonicalize().unwrap_or(root);
        let program = Program { prefix, root: root.clone() };
        let real = root == Path::new("/");
        // What goes wrong at boot may leave no other way to be told.
        let loud = real && matches!(verb, Verb::On(Work::Activate | Work::Rescue | Work::ZeroTouch));
        let is_unit = loud || real && matches!(verb, Verb::On(Work::Serve) | Verb::NameInterfaces);
        let do_it = |work| Appliance::open(&root, steps.clone())?.run(work, &program);
        let done = match verb {
            Verb::Help => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            Verb::Version => {
                println!("reinstated {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            Verb::Lint(folder) => return lint(&folder, steps),
            Verb::TellManager => {
                tell_manager().and_then(|answer| print_json(&answer)).map_err(|failure| vec![failure])
            }
            Verb::NameInterfaces => appliance::name_interfaces(&root, steps),
            Verb::JudgePassword(user) => judge_password(&root, steps, &user),
            Verb::Answer(peer) => {
                // The one at the other end hears of every failure, so this process has none of its own.
                let first = |failures: Vec<Failure>| {
                    failures.into_iter().next().unwrap_or_else(|| Failure::new(Code::Internal, "no reason"))
                };
                let answered = request::receive().and_then(|request| match peer.permits(request)? {
                    Asked::Work(work) => do_it(work).map_err(first),
                    Asked::Network(network) => network.run(),
                });
                request::answer(answered).map_err(|e| vec![e])
            }
            Verb::Network(network) => network.run().and_then(|reply| print(&reply)).map_err(|e| vec![e]),
            Verb::On(work) => do_it(work).and_then(|reply| print(&reply).map_err(|e| vec![e])),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failures) => {
                failures.iter().filter(|_| loud).for_each(log::on_console);
                complain(&failures, is_unit)
            }
        }
    }
}

impl Verb {
    fn parse(words: Vec<OsString>) -> Result<Self, lexopt::Error> {
        let mut words = words.into_iter();
        let name = words.next().ok_or("a command is missing")?.string()?;
        let missing = |what: &str| lexopt::Error::from(format!("{name}: {what} is missing"));
        let mut next = |what: &str| words.next().ok_or_else(|| missing(what));
        let verb = match name.as_str() {
            "name-interfaces" => Self::NameInterfaces,
            "tell-manager" => Self::TellManager,
            "answer" => match next("whose requests")?.to_str() {
                Some("root") => Self::Answer(Peer::Root),
                Some("check") => Self::Answer(Peer::Check),
                Some("network") => Self::Answer(Peer::Network),
                _ => return Err("answer: root, check or network".into()),
            },
            "probe" => Self::Network(Network::probe(words.by_ref())?),
            "failover-address" => Self::Network(Network::failover_address(&mut words)?),
            "judge-password" => Self::JudgePassword(next("the user")?.string()?),
            "lint" => Self::Lint(next("the folder")?.into()),
            "serve" => Self::On(Work::Serve),
            "activate" => Self::On(Work::Activate),
            "activate-now" => Self::On(Work::ActivateNow),
            "rescue" => Self::On(Work::Rescue),
            "pending" => Self::On(Work::Pending),
            "snapshot" => Self::On(Work::Snapshot {
                number: next("the number")?.parse()?,
                origin: next("the origin")?.string()?,
            }),
            "scan" => Self::On(Work::Scan),
            "facts" => Self::On(Work::Facts),
            "manager-credentials" => Self::On(Work::ManagerCredentials),
            "membership" => Self::On(Work::Membership),
            "lock-service" => Self::On(Work::LockService),
            "ha-state" => Self::On(Work::HaState),
            "ha-resume" => Self::On(Work::HaResume),
            "validate" => Self::On(Work::Validate(next("the generation")?.parse()?)),
            "admits" => Self::On(Work::Admits {
                tree: next("the generation")?.parse()?,
                connections: words.by_ref().map(|word| word.parse()).collect::<Result<_, _>>()?,
            }),
            "units" => Self::On(Work::Units),
            "inactive" => {
                Self::On(Work::Inactive(words.by_ref().map(ValueExt::string).collect::<Result<_, _>>()?))
            }
            "people" => Self::On(Work::People),
            "log" => Self::On(Work::Log {
                lines: tail::count(&next("the number of lines")?.string()?).map_err(|e| e.message)?,
            }),
            "reboot" => Self::On(Work::Reboot),
            "restart" => Self::On(Work::Restart),
            "power-off" => Self::On(Work::PowerOff),
            "warn" => Self::On(Work::Warn {
                seconds: next("the number of seconds")?.parse()?,
                configured: match next("what is to be confirmed")?.to_str() {
                    Some("configure") => true,
                    Some("restore") => false,
                    _ => return Err("warn: restore or configure".into()),
                },
            }),
            "import" => Self::On(Work::Import(words.next().map(ValueExt::string).transpose()?)),
            "zero-touch" => Self::On(Work::ZeroTouch),
            "confine" => Self::On(Work::Confine {
                tree: next("the generation")?.parse()?,
                domain: next("the domain")?.string()?,
            }),
            other => return Err(format!("there is no command '{other}'").into()),
        };
        match words.next() {
            Some(extra) => Err(lexopt::Error::UnexpectedArgument(extra)),
            None => Ok(verb),
        }
    }
}

impl Peer {
    /// The work, where it is some that this peer's requests may ask for.
    fn permits(self, request: Request) -> Result<Asked, Failure> {
        let bad = |why: String| Failure::new(Code::BadRequest, format!("the request is refused: {why}"));
        let name = request.verb.clone();
        let words = std::iter::once(request.verb).chain(request.values).map(OsString::from).collect();
        let verb = Verb::parse(words).map_err(|error| bad(error.to_string()))?;
        match (self, verb) {
            (
                Self::Root,
                Verb::On(
                    work @ (Work::ActivateNow
                    | Work::Snapshot { .. }
                    | Work::Scan
                    | Work::Facts
                    | Work::ManagerCredentials
                    | Work::Membership
                    | Work::LockService
                    | Work::HaState
                    | Work::HaResume
                    | Work::Import(_)
                    | Work::Inactive(_)
                    | Work::People
                    | Work::Log { .. }
                    | Work::Reboot
                    | Work::Restart
                    | Work::PowerOff
                    | Work::Warn { .. }),
                ),
            )
            | (Self::Check, Verb::On(work @ (Work::Validate(_) | Work::Admits { .. }))) => {
                Ok(Asked::Work(work))
            }
            (Self::Network, Verb::Network(network)) => Ok(Asked::Network(network)),
            _ => Err(bad(format!("'{name}' is not for this socket"))),
        }
    }
}

/// People read the log; whoever started a verb, if it is not systemd, reads the first failure as JSON.
fn complain(failures: &[Failure], is_unit: bool) -> ExitCode {
    for failure in failures {
        log::error(failure);
    }
    if let Some(first) = failures.first().filter(|_| !is_unit) {
        print_json(first).ok();
    }
    ExitCode::FAILURE
}

fn print(reply: &Reply) -> Result<(), Failure> {
    if matches!(reply, Reply::Nothing) { Ok(()) } else { print_json(reply) }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::io("cannot answer", &e);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer(&mut out, value).map_err(|e| cannot(e.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(cannot)
}
