//! Where a firewall is tried: this appliance's network as the ruleset knows it, and the other members'.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use nix::unistd::{Pid, gettid};
use reinstate_api::{Code, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use super::net::{complaint, ip, leave, placing, run};
use super::veth::pair;
use super::{Connection, Trial};
use crate::files::Folder;
use crate::profile::Profile;
use crate::validate::Tree;

/// A connection that takes longer is not let in: the kernel has repeated its first packet by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a firewall is tried: what its ruleset may refer to.
#[derive(Debug)]
pub struct Ground {
    /// Logical names, all that the appliance has.
    interfaces: Vec<String>,
    ruleset: PathBuf,
    port: u16,
    /// For each program that is run.
    limit: Duration,
}

impl Ground {
    /// # Errors
    /// `profile-invalid` where the profile names no ruleset; `bad-request` where a connection is on an
    /// interface on which members do not come in.
    pub fn of(profile: &Profile, connections: &[Connection]) -> Result<Self, Failure> {
        let ha = profile.ha.as_ref();
        let Some((ha, ruleset)) = ha.and_then(|ha| Some((ha, ha.ruleset.as_ref()?))) else {
            let why = "this appliance's profile names no ruleset by which HA members come in ([ha] ruleset)";
            return Err(Failure::new(Code::ProfileInvalid, why));
        };
        if let Some(stray) = connections.iter().find(|c| !ha.interfaces.contains(&c.interface)) {
            let why = format!("{stray}: members come in on {}", ha.interfaces.join(", "));
            return Err(Failure::new(Code::BadRequest, why));
        }
        Ok(Self {
            interfaces: profile.hardware.interfaces.clone(),
            ruleset: PathBuf::from("/").join(ruleset),
            port: ha.port,
            limit: Duration::from_secs(profile.validators.time_limit),
        })
    }

    /// Why this process cannot look for the live ruleset: to a tree that it is confined to, it would seem
    /// to be missing.
    pub fn hidden(&self, root: &Folder, tree: Tree) -> Option<String> {
        let relative = self.ruleset.strip_prefix("/").unwrap_or(&self.ruleset);
        match root.path().join(relative).symlink_metadata() {
            Err(error) if tree == Tree::Live && error.kind() != ErrorKind::NotFound => {
                Some(format!("{}: {error}", self.ruleset.display()))
            }
            _ => None,
        }
    }

    /// Makes the connections. This process must be confined to the tree whose firewall is tried.
    ///
    /// # Errors
    /// Where there is no way to try it.
    pub fn try_out(&self, connections: &[Connection]) -> Result<Trial, Failure> {
        // An interface at a time: the same addresses may be tried on several.
        let mut links = BTreeMap::<&str, Vec<&Connection>>::new();
        for connection in connections {
            links.entry(&connection.interface).or_default().push(connection);
        }
        let trials = std::thread::scope(|scope| {
            let running: Vec<_> = links
                .into_iter()
                .map(|(interface, connections)| Link { ground: self, interface, connections })
                .map(|link| scope.spawn(move || link.try_out()))
                .collect();
            running.into_iter().map(ended).collect::<Result<Vec<_>, _>>()
        })?;
        let mut closed = Vec::new();
        for trial in trials {
            match trial {
                Trial::Closed(more) => closed.extend(more),
                not_loaded => return Ok(not_loaded),
            }
        }
        Ok(Trial::Closed(closed))
    }
}

/// One of the interfaces, with the members at its other end.
struct Link<'a> {
    ground: &'a Ground,
    interface: &'a str,
    connections: Vec<&'a Connection>,
}

impl Link<'_> {
    /// This thread is the appliance, another one is all the members.
    fn try_out(&self) -> Result<Trial, Failure> {
        let (who, members) = oneshot::channel();
        let (go, started) = oneshot::channel();
        let (ending, finished) = oneshot::channel::<Infallible>();
        std::thread::scope(|scope| {
            let others = scope.spawn(move || {
                let _ending = ending;
                leave()?;
                // An appliance that has failed says so itself.
                let _ = who.send(gettid());
                block_on(self.members(started))
            });
            let appliance = leave().and_then(|()| block_on(self.appliance(members, go, finished)));
            let closed = ended(others);
            match appliance? {
                Some(why) => Ok(Trial::NotLoaded(why)),
                None => closed.map(Trial::Closed),
            }
        })
    }

    /// Answers the members; why the ruleset is not loaded, if it is not.
    async fn appliance(
        &self,
        members: oneshot::Receiver<Pid>,
        go: oneshot::Sender<()>,
        finished: oneshot::Receiver<Infallible>,
    ) -> Result<Option<String>, Failure> {
        let Ground { interfaces, port, limit, .. } = self.ground;
        // Members that have failed say so themselves.
        let Ok(members) = members.await else { return Ok(None) };
        // All are there: a ruleset may name them.
        interfaces.iter().try_for_each(|name| pair(name, members)).map_err(|e| {
            Failure::io("the network to try the firewall in cannot be made", &e)
                .hint("the image's kernel must have veth")
        })?;
        let loopback = std::iter::once("link set lo up".to_owned());
        let (from, to) = (self.addresses(|c| c.from), self.addresses(|c| c.to));
        let placed = placing(self.interface, to.iter().copied(), from.into_iter());
        let lines: Vec<_> = loopback.chain(placed).collect();
        ip(&lines, *limit).await?;
        if let Some(why) = self.load().await {
            return Ok(Some(why));
        }
        let listening = to.iter().map(|address| TcpListener::bind(SocketAddr::new(*address, *port)));
        let doors = try_join_all(listening).await.map_err(cannot_try)?;
        let _ = go.send(());
        tokio::select! {
            failed = try_join_all(doors.iter().map(greet)) => failed.map(|_| None).map_err(cannot_try),
            _ = finished => Ok(None),
        }
    }

    /// As at a boot. No file: nothing is loaded, and everything comes in.
    async fn load(&self) -> Option<String> {
        let Ground { ruleset, limit, .. } = self.ground;
        match ruleset.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return Some(format!("{}: {error}", ruleset.display())),
            Ok(_) => {}
        }
        match run("nft", &["-f", &ruleset.to_string_lossy()], Vec::new(), *limit).await {
            Err(why) => Some(why),
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(format!("nft does not load {}: {}", ruleset.display(), complaint(&done))),
        }
    }

    /// Makes the connections; those that were not let in.
    async fn members(&self, started: oneshot::Receiver<()>) -> Result<Vec<Connection>, Failure> {
        if started.await.is_err() {
            return Ok(Vec::new());
        }
        let (from, to) = (self.addresses(|c| c.from), self.addresses(|c| c.to));
        let lines: Vec<_> = placing(self.interface, from.into_iter(), to.into_iter()).collect();
        ip(&lines, self.ground.limit).await?;
        let tried = self.connections.iter().map(|connection| is_let_in(connection, self.ground.port));
        let tried = join_all(tried).await;
        let mut closed = Vec::new();
        for (connection, let_in) in self.connections.iter().zip(tried) {
            if !let_in? {
                closed.push((*connection).clone());
            }
        }
        Ok(closed)
    }

    fn addresses(&self, which: impl Fn(&Connection) -> IpAddr) -> BTreeSet<IpAddr> {
        self.connections.iter().map(|connection| which(connection)).collect()
    }
}

/// Sends a byte to everybody who connects.
async fn greet(door: &TcpListener) -> std::io::Result<Infallible> {
    loop {
        let (mut stream, _) = door.accept().await?;
        // One that is gone already is closed to itself.
        let _ = stream.write_all(b".").await;
    }
}

/// Let in is who hears something: packets of both directions pass, also after the first ones.
async fn is_let_in(connection: &Connection, port: u16) -> Result<bool, Failure> {
    let Connection { from, to, .. } = connection;
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(cannot_try)?;
    socket.bind(SocketAddr::new(*from, 0)).map_err(cannot_try)?;
    let heard = async {
        let mut stream = socket.connect(SocketAddr::new(*to, port)).await?;
        stream.read_u8().await
    };
    Ok(matches!(tokio::time::timeout(PATIENCE, heard).await, Ok(Ok(_))))
}

fn cannot_try(error: std::io::Error) -> Failure {
    Failure::io("the firewall cannot be tried", &error)
}

fn ended<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    let early = |_| Failure::new(Code::Internal, "a thread that tries the firewall ended early");
    thread.join().map_err(early)?
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(cannot_try)?.block_on(work)
}
