//! Every command, as one table: the parser, `help`, `?` and completion read it, and nothing else
//! knows a command's words.

use std::collections::BTreeSet;

use reinstate_api::{ExtractRequest, ImportRequest, Location, Override, RestoreRequest, Source};

use crate::values::{self, Endpoint};

/// A line that was understood.
#[derive(Debug)]
pub enum Command {
    Restore(RestoreRequest),
    RestoreAbort,
    RestoreConfirm,
    RestoreRollback,
    RestoreFactory,
    BackupCreate,
    BackupImport(ImportRequest),
    BackupExtract(ExtractRequest),
    ManagerDelete,
    TasksAcknowledge,
    HighAvailabilityResume,
    ShowRestore,
    ShowRestoreDetail,
    ShowRestoreHistory,
    ShowRestoreLock,
    ClearRestoreLock,
    ShowBackups,
    ShowVersion,
    ShowManagers,
    ShowPublicKey,
    Help,
    History,
    Exit,
}

/// One command.
pub struct Row {
    pub parts: &'static [Part],
    pub help: &'static str,
    /// None where a part that this combination of optional parts needs was left out.
    pub build: fn(Draft) -> Option<Command>,
}

/// What may stand at one place of a command.
pub enum Part {
    Word(&'static str, &'static str),
    /// A typed argument: how it is called, its help, and how it is taken. False: not of the type.
    Argument(&'static str, &'static str, fn(&mut Draft, &str) -> bool),
    Optional(&'static [Part]),
}

/// The typed arguments of a line, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    endpoint: Option<Endpoint>,
    user: Option<String>,
    path: Option<String>,
    file: Option<String>,
    node: Option<String>,
    fingerprint: Option<String>,
    device: Option<String>,
    confirm_within: Option<u32>,
    check: bool,
    overrides: BTreeSet<Override>,
}

/// Keeps an argument; false where it is not of its type.
fn keep<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

const RESTORE: Part = Part::Word("restore", "Put this appliance in the place of a failed one");
const REMOTE: Part =
    Part::Word("remote-manager-backup", "Restore a backup that the manager or an admin made");
const SHOW: Part = Part::Word("show", "Show what is");
const SHOW_RESTORE: Part = Part::Word("restore", "The running or the last restore");
const CONFIGURE: Part = Part::Word("configure", "Change the configuration");
const BACKUP: Part = Part::Word("backup", "The name of the backup file follows");
const FILE: Part = Part::Argument("FILE", "Name of the backup file", |draft, text| {
    keep(&mut draft.file, values::file(text))
});
const DEVICE: Part = Part::Optional(&[
    Part::Word("device", "Only the backup of one device will do"),
    Part::Argument("UUID", "The device's UUID, as `show version` says it", |draft, text| {
        keep(&mut draft.device, values::uuid(text))
    }),
]);
const CONFIRM_WITHIN: Part = Part::Optional(&[
    Part::Word("confirm-within", "Go back unless `restore confirm` is typed in time"),
    Part::Argument("MINUTES", "Minutes after the restart, 1 to 1440", |draft, text| {
        keep(&mut draft.confirm_within, values::minutes(text))
    }),
]);
const OVERRIDES: Part = Part::Optional(&[
    Part::Optional(&[Part::Word("without-peer", "Go on where a member of the HA group does not answer")]),
    Part::Optional(&[Part::Word("without-control", "Restore a data node while no control node answers")]),
    Part::Optional(&[Part::Word("address-in-use-ok", "Go on though the backup's address is in use")]),
]);
/// The word that ends a restore's line; it is a flag of the draft.
const CHECK: Part = Part::Word("check", "Run every check, show what would change, change nothing");

pub const TABLE: &[Row] = &[
    Row {
        parts: &[
            RESTORE,
            REMOTE,
            Part::Word("location", "Fetch the backup from an SSH server"),
            Part::Argument(
                "HOST[:PORT]",
                "Name or address of the server, [2001:db8::1]:22 for IPv6",
                |draft, text| keep(&mut draft.endpoint, values::endpoint(text)),
            ),
            Part::Argument("USER", "User on the server", |draft, text| {
                keep(&mut draft.user, values::user(text))
            }),
            Part::Argument("PATH", "Folder on the server, or the whole path of the file", |draft, text| {
                keep(&mut draft.path, values::path(text))
            }),
            Part::Optional(&[Part::Optional(&[BACKUP]), FILE]),
            Part::Optional(&[
                Part::Word("fingerprint", "The server's host key is known beforehand"),
                Part::Argument(
                    "FINGERPRINT",
                    "SHA256:... as OpenSSH prints it, or MD5:...",
                    |draft, text| keep(&mut draft.fingerprint, values::fingerprint(text)),
                ),
            ]),
            DEVICE,
            CONFIRM_WITHIN,
            OVERRIDES,
            Part::Optional(&[CHECK]),
        ],
        help: "Restore a backup from an SSH server",
        build: |draft| {
            let Endpoint { host, port } = draft.endpoint?;
            let location = Location {
                host,
                port,
                user: draft.user?,
                path: values::remote_path(&draft.path?, draft.file.as_deref())?,
                fingerprint: draft.fingerprint,
            };
            let Draft { check, device, overrides, confirm_within, .. } = draft;
            let source = Source::Location(location);
            Some(Command::Restore(RestoreRequest { source, check, device, overrides, confirm_within }))
        },
    },
    Row {
        parts: &[
            RESTORE,
            REMOTE,
            Part::Optional(&[BACKUP]),
            FILE,
            DEVICE,
            CONFIRM_WITHIN,
            OVERRIDES,
            Part::Optional(&[CHECK]),
        ],
        help: "Restore a backup from this appliance's backup folder",
        build: |draft| {
            let Draft { file, check, device, overrides, confirm_within, .. } = draft;
            let source = Source::Backup(file?);
            Some(Command::Restore(RestoreRequest { source, check, device, overrides, confirm_within }))
        },
    },
    Row {
        parts: &[RESTORE, Part::Word("abort", "End the running restore, as long as nothing is changed")],
        help: "End the running restore, as long as nothing is changed",
        build: |_| Some(Command::RestoreAbort),
    },
    Row {
        parts: &[RESTORE, Part::Word("confirm", "Keep what was restored with `confirm-within`")],
        help: "Keep what was restored with `confirm-within`",
        build: |_| Some(Command::RestoreConfirm),
    },
    Row {
        parts: &[RESTORE, Part::Word("rollback", "Go back to the configuration before the last restore")],
        help: "Go back to the configuration before the last restore",
        build: |_| Some(Command::RestoreRollback),
    },
    Row {
        parts: &[RESTORE, Part::Word("factory", "Go back to the configuration as delivered")],
        help: "Go back to the configuration as delivered",
        build: |_| Some(Command::RestoreFactory),
    },
    Row {
        parts: &[
            Part::Word("backup", "Backups of this appliance"),
            Part::Word("create", "Back this appliance up into its backup folder"),
        ],
        help: "Back this appliance up into its backup folder",
        build: |_| Some(Command::BackupCreate),
    },
    Row {
        parts: &[
            Part::Word("backup", "Backups of this appliance"),
            Part::Word("import", "Take a backup from elsewhere"),
            Part::Word("medium", "From the medium with the label REINSTATE"),
            Part::Optional(&[FILE]),
        ],
        help: "Copy a backup from the medium with the label REINSTATE",
        build: |draft| Some(Command::BackupImport(ImportRequest { file: draft.file })),
    },
    Row {
        parts: &[
            Part::Word("backup", "Backups of this appliance"),
            Part::Word("extract", "Take archives out of a cluster's bundle"),
            Part::Argument("BUNDLE", "Name of the bundle in the backup folder", |draft, text| {
                keep(&mut draft.file, values::file(text))
            }),
            Part::Optional(&[Part::Argument(
                "NODE",
                "Host name of one node, or the name of its archive",
                |draft, text| keep(&mut draft.node, values::file(text)),
            )]),
        ],
        help: "Take the archive of one node, or all of them, out of a cluster's bundle",
        build: |draft| Some(Command::BackupExtract(ExtractRequest { bundle: draft.file?, node: draft.node })),
    },
    Row {
        parts: &[SHOW, SHOW_RESTORE],
        help: "Go to the running restore, or show the last one",
        build: |_| Some(Command::ShowRestore),
    },
    Row {
        parts: &[SHOW, SHOW_RESTORE, Part::Word("detail", "With every path that changes")],
        help: "The running or the last restore, with every path that changes",
        build: |_| Some(Command::ShowRestoreDetail),
    },
    Row {
        parts: &[SHOW, SHOW_RESTORE, Part::Word("history", "All restores on record, newest first")],
        help: "All restores on record, newest first",
        build: |_| Some(Command::ShowRestoreHistory),
    },
    Row {
        parts: &[
            SHOW,
            SHOW_RESTORE,
            Part::Word("lock", "Who holds the restore lock, here and in the HA group"),
        ],
        help: "Who holds the restore lock, here and in the HA group",
        build: |_| Some(Command::ShowRestoreLock),
    },
    Row {
        parts: &[
            Part::Word("clear", "Take something away that is in the way"),
            Part::Word(
                "restore-lock",
                "The restore lock of this appliance, from a restore that does not release it",
            ),
        ],
        help: "Take the restore lock away from a restore that does not release it",
        build: |_| Some(Command::ClearRestoreLock),
    },
    Row {
        parts: &[SHOW, Part::Word("backups", "Files in the backup folder")],
        help: "Files in the backup folder",
        build: |_| Some(Command::ShowBackups),
    },
    Row {
        parts: &[SHOW, Part::Word("version", "Model, UUID and software of this appliance")],
        help: "Model, UUID and software of this appliance",
        build: |_| Some(Command::ShowVersion),
    },
    Row {
        parts: &[SHOW, Part::Word("managers", "The manager of this appliance")],
        help: "The manager of this appliance",
        build: |_| Some(Command::ShowManagers),
    },
    Row {
        parts: &[
            SHOW,
            Part::Word("public-key", "This appliance's key, for a backup server's authorized_keys"),
        ],
        help: "This appliance's key, for a backup server's authorized_keys",
        build: |_| Some(Command::ShowPublicKey),
    },
    Row {
        parts: &[
            CONFIGURE,
            Part::Word("tasks", "What is left to do by hand after a restore"),
            Part::Word("acknowledge", "Take note of the tasks, so that no login shows them any more"),
        ],
        help: "Take note of the tasks after a restore; no login shows them any more",
        build: |_| Some(Command::TasksAcknowledge),
    },
    Row {
        parts: &[
            CONFIGURE,
            Part::Word("high-availability", "This appliance's part in its HA group"),
            Part::Word("resume", "Have the HA engine run and synchronise again"),
        ],
        help: "Have the HA engine run and synchronise again",
        build: |_| Some(Command::HighAvailabilityResume),
    },
    Row {
        parts: &[
            CONFIGURE,
            Part::Word("manager", "The manager of this appliance"),
            Part::Word("delete", "Forget the manager, reachable or not"),
        ],
        help: "Forget the manager, reachable or not",
        build: |_| Some(Command::ManagerDelete),
    },
    Row {
        parts: &[Part::Word("help", "List every command")],
        help: "List every command; ? after a word lists what may follow",
        build: |_| Some(Command::Help),
    },
    Row {
        parts: &[Part::Word("history", "The lines typed in this session")],
        help: "The lines typed in this session",
        build: |_| Some(Command::History),
    },
    Row {
        parts: &[Part::Word("exit", "End the session")],
        help: "End the session",
        build: |_| Some(Command::Exit),
    },
    Row {
        parts: &[Part::Word("logout", "End the session")],
        help: "End the session",
        build: |_| Some(Command::Exit),
    },
];

impl Draft {
    /// Notes a word that stands for itself in the request.
    pub fn word(&mut self, word: &str) {
        self.check |= word == "check";
        self.overrides.extend(Override::ALL.into_iter().find(|known| known.as_str() == word));
    }
}

impl Row {
    /// The command as a reference writes it: `restore factory`, `a [b] C`.
    pub fn syntax(&self) -> String {
        syntax(self.parts)
    }
}

fn syntax(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Word(name, _) | Part::Argument(name, _, _) => (*name).to_owned(),
        Part::Optional(inner) => format!("[{}]", syntax(inner)),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}
