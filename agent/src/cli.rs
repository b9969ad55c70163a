//! The `reinstated` program: the daemon, the root processes that it starts, and the offline checks.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use lexopt::ValueExt;
use lexopt::prelude::{Long, Short, Value};
use reinstate_api::{Code, Failure, SOCKET};
use serde::Serialize;

use crate::activate::Activation;
use crate::checkin::{self, Credentials, Telling};
use crate::domain::Domains;
use crate::engine::{Engine, Parts};
use crate::facts::Facts;
use crate::files::{Direct, Folder, Steps};
use crate::live;
use crate::platform::{Program, Sandbox};
use crate::profile::{self, Profile};
use crate::server;
use crate::state::StateFile;
use crate::store::{About, Store};
use crate::validate::{self, Tree};

const HELP: &str = "\
reinstated: the restore agent of an appliance

usage: reinstated [--root DIR] COMMAND

  serve               the daemon: answers on DIR/run/reinstate/agent.sock
  activate            make the pending generation the live configuration; at boot, before the network
  snapshot N ORIGIN   the live configuration becomes generation N
  scan                list and hash the live configuration
  facts               what this appliance is
  manager-credentials what the manager is spoken to with, its private key included
  tell-manager        one attempt to tell the manager what standard input says
  validate N|live     run the domains' checkers on a generation, or on the live configuration
  units               the units whose domains' checkers do not accept the live configuration
  lint DIR            check a folder with profile.d and domains.d

  --root DIR          the appliance's root folder, / by default; another folder is a sandbox
  --help, --version
";

/// The agent's own folder, below the root.
const STATE_FOLDER: &str = "var/lib/reinstate";

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
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(false).init();
    command.run(prefix, steps)
}

struct Command {
    root: PathBuf,
    verb: Verb,
}

enum Verb {
    Serve,
    Activate,
    Snapshot { number: u64, origin: String },
    Scan,
    Facts,
    ManagerCredentials,
    TellManager,
    Validate(Tree),
    Units,
    Confine { tree: Tree, domain: String },
    Lint(PathBuf),
    Help,
    Version,
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
        let mut words = words.into_iter();
        let verb = words.next().ok_or("a command is missing")?.string()?;
        let mut next = |what: &str| {
            words.next().ok_or_else(|| lexopt::Error::from(format!("{verb}: {what} is missing")))
        };
        let verb = match verb.as_str() {
            "serve" => Verb::Serve,
            "activate" => Verb::Activate,
            "snapshot" => {
                Verb::Snapshot { number: next("the number")?.parse()?, origin: next("the origin")?.string()? }
            }
            "scan" => Verb::Scan,
            "facts" => Verb::Facts,
            "manager-credentials" => Verb::ManagerCredentials,
            "tell-manager" => Verb::TellManager,
            "validate" => Verb::Validate(next("the generation")?.parse()?),
            "units" => Verb::Units,
            "confine" => Verb::Confine {
                tree: next("the generation")?.parse()?,
                domain: next("the domain")?.string()?,
            },
            "lint" => Verb::Lint(next("the folder")?.into()),
            other => return Err(format!("there is no command '{other}'").into()),
        };
        match words.next() {
            Some(extra) => Err(lexopt::Error::UnexpectedArgument(extra)),
            None => Ok(Self { root, verb }),
        }
    }

    fn run(self, prefix: Vec<OsString>, steps: Arc<dyn Steps>) -> ExitCode {
        let Self { root, verb } = self;
        match verb {
            Verb::Help => print!("{HELP}"),
            Verb::Version => println!("reinstated {}", env!("CARGO_PKG_VERSION")),
            Verb::Lint(folder) => return lint(&folder, steps),
            Verb::TellManager => {
                if let Err(failure) = tell_manager() {
                    print_json(&failure).ok();
                    return ExitCode::FAILURE;
                }
            }
            verb => {
                let root = root.canonicalize().unwrap_or(root);
                let program = Program { prefix, root: root.clone() };
                let done = Appliance::open(&root, steps).and_then(|appliance| appliance.run(verb, program));
                if let Err(failures) = done {
                    return complain(&failures);
                }
            }
        }
        ExitCode::SUCCESS
    }
}

/// People read standard error; whoever started a verb reads the first failure as JSON.
fn complain(failures: &[Failure]) -> ExitCode {
    for failure in failures {
        tracing::error!(code = %failure.code, hint = %failure.hint, "{failure}");
    }
    if let Some(first) = failures.first() {
        print_json(first).ok();
    }
    ExitCode::FAILURE
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::io("cannot answer", &e);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer(&mut out, value).map_err(|e| cannot(e.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(cannot)
}

/// One appliance, with everything that a verb works on.
struct Appliance {
    root: Folder,
    profile: Profile,
    domains: Domains,
    store: Store,
    state: StateFile,
}

impl Appliance {
    fn open(root: &Path, steps: Arc<dyn Steps>) -> Result<Self, Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        let root = Folder::open(root, steps).map_err(|e| one(e.into()))?;
        let (profile, domains) = profile::load(&root)?;
        root.make_folders(STATE_FOLDER, 0o700).map_err(|e| one(e.into()))?;
        let folder = root.folder(STATE_FOLDER).map_err(|e| one(e.into()))?;
        let store = Store::open(folder.clone()).map_err(one)?;
        Ok(Self { root, profile, domains, store, state: StateFile::new(folder) })
    }

    fn run(self, verb: Verb, program: Program) -> Result<(), Vec<Failure>> {
        let one = |failure: Failure| vec![failure];
        match verb {
            Verb::Serve => self.serve(program).map_err(one),
            Verb::Activate => self.activate().map_err(one),
            Verb::Snapshot { number, origin } => self.snapshot(number, origin).map_err(one),
            Verb::Facts => {
                Facts::read(&self.root, &self.profile).and_then(|facts| print_json(&facts)).map_err(one)
            }
            Verb::ManagerCredentials => Credentials::read(&self.root, &self.profile)
                .and_then(|credentials| print_json(&credentials))
                .map_err(one),
            Verb::Scan => {
                let index = live::scan(&self.root, &self.domains).map_err(one)?;
                print_json(&index.iter().collect::<Vec<_>>()).map_err(one)
            }
            Verb::Validate(tree) => {
                let refused = block_on(validate::validate(&program, &self.profile, &self.domains, tree))
                    .map_err(one)?;
                print_json(&refused.into_iter().map(|(_, failure)| failure).collect::<Vec<_>>()).map_err(one)
            }
            Verb::Units => {
                let refused =
                    block_on(validate::validate(&program, &self.profile, &self.domains, Tree::Live))
                        .map_err(one)?;
                let units: Vec<_> = refused
                    .iter()
                    .flat_map(|(name, failure)| {
                        let units =
                            self.domains.get(name).map(|domain| domain.units.clone()).unwrap_or_default();
                        units.into_iter().map(move |unit| (unit, failure))
                    })
                    .collect();
                print_json(&units).map_err(one)
            }
            Verb::Confine { tree, domain } => {
                let Some(domain) = self.domains.get(&domain) else {
                    return Err(one(Failure::new(Code::NotFound, format!("there is no domain '{domain}'"))));
                };
                let failure =
                    validate::confined(&self.root, &self.profile, &self.domains, &self.store, tree, domain);
                Err(one(failure))
            }
            // Handled before an appliance was opened.
            Verb::Lint(_) | Verb::TellManager | Verb::Help | Verb::Version => Ok(()),
        }
    }

    fn serve(self, program: Program) -> Result<(), Failure> {
        forbid_dumps()?;
        if self.root.path() == Path::new("/") {
            return Err(Failure::new(
                Code::BadRequest,
                "the root folder is /, and this version of the agent serves sandboxes only",
            )
            .hint("name the folder that stands for the appliance: --root DIR"));
        }
        let _alone = self.store.only_daemon()?;
        let socket = self.root.path().join(SOCKET);
        self.root.make_folders("run/reinstate", 0o755)?;
        let Self { root, profile, domains, store, state } = self;
        let platform = Arc::new(Sandbox::new(program, root.clone()));
        let engine = Engine::start(Parts { platform, profile, domains, root, store, state });
        block_on(async {
            let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|e| Failure::io("cannot listen for signals", &e))?;
            if let Err(failure) = engine.recover().await {
                tracing::error!(code = %failure.code, hint = %failure.hint, "{failure}");
            }
            tokio::select! {
                served = server::serve(engine, &socket) => served,
                _ = terminated.recv() => Ok(()),
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        })
    }

    fn activate(self) -> Result<(), Failure> {
        let Self { root, domains, store, state, .. } = &self;
        let _alone = store.alone()?;
        let done = Activation { root, domains, store, state }.run()?;
        tracing::info!(?done, "activation");
        Ok(())
    }

    fn snapshot(self, number: u64, origin: String) -> Result<(), Failure> {
        let _alone = self.store.alone()?;
        let facts = Facts::read(&self.root, &self.profile)?;
        let mut draft = self.store.draft(&format!("snapshot-{number}"))?;
        live::snapshot(&self.root, &self.domains, &mut draft)?;
        draft.finish(About {
            number,
            created: Timestamp::now(),
            origin,
            device: facts.device,
            domains: &self.domains,
            archive: None,
        })?;
        Ok(())
    }
}

/// Without an appliance: it gets what it needs, and logs nothing of its own.
fn tell_manager() -> Result<(), Failure> {
    forbid_dumps()?;
    let telling: Telling = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|e| Failure::new(Code::BadRequest, format!("standard input is not understood: {e}")))?;
    print_json(&block_on(checkin::tell(&telling))?)
}

/// Secrets pass through this process: no core dump, no other process of its account reads it.
fn forbid_dumps() -> Result<(), Failure> {
    nix::sys::prctl::set_dumpable(false).map_err(|e| Failure::io("cannot forbid core dumps", &e.into()))
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::io("cannot start the runtime", &e))?
        .block_on(work)
}

/// Checks a folder that holds `profile.d` and `domains.d`, offline.
fn lint(folder: &Path, steps: Arc<dyn Steps>) -> ExitCode {
    let checked = Folder::open(folder, steps)
        .map_err(|e| vec![e.into()])
        .and_then(|folder| profile::load_from(&folder));
    match checked {
        Ok((profile, domains)) => {
            println!("{}: {} domains, no problem found", profile.product, domains.iter().count());
            for domain in domains.iter() {
                let paths: Vec<_> = domain.paths.iter().map(ToString::to_string).collect();
                println!("  {:<12} {:<8} {}", domain.name, domain.restore.as_str(), paths.join(" "));
            }
            ExitCode::SUCCESS
        }
        Err(failures) => {
            for failure in &failures {
                eprintln!("{failure} [{}]", failure.code);
            }
            ExitCode::FAILURE
        }
    }
}
