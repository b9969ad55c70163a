//! Restores.

use reinstate_api::{Access, Location, RestoreRequest, Source};

use super::{Command, Draft, Part, Row, argument, backup_file, keep, row};
use crate::values::{self, Endpoint};

const RESTORE: Part = Part::Word("restore", "Put this appliance in the place of a failed one");
const REMOTE: Part =
    Part::Word("remote-manager-backup", "Restore a backup that the manager or an admin made");
const BACKUP: Part = Part::Word("backup", "The name of the backup file follows");
const FILE: Part =
    backup_file("FILE", "Name of the backup file", |draft, text| keep(&mut draft.file, values::file(text)));
const DEVICE: Part = Part::Optional(&[
    Part::Word("device", "Only the backup of one device will do"),
    argument("UUID", "The device's UUID, as `show version` says it", |draft, text| {
        keep(&mut draft.device, values::uuid(text))
    }),
]);
const CONFIRM_WITHIN: Part = Part::Optional(&[
    Part::Word("confirm-within", "Go back unless `restore confirm` is typed in time"),
    argument("MINUTES", "Minutes after the restart, 1 to 1440", |draft, text| {
        keep(&mut draft.confirm_within, values::minutes(text))
    }),
]);
const OVERRIDES: Part = Part::Optional(&[
    Part::Optional(&[Part::Word("without-peer", "Go on where a member of the HA group does not answer")]),
    Part::Optional(&[Part::Word("without-control", "Restore a data node while no control node answers")]),
    Part::Optional(&[Part::Word("address-in-use-ok", "Go on though the backup's address is in use")]),
]);
/// The word that ends a restore's line; it is a flag of the draft.
const CHECK: Part =
    Part::Optional(&[Part::Word("check", "Run every check, show what would change, change nothing")]);

fn restore(source: Source, draft: Draft) -> Option<Command> {
    let Draft { check, device, overrides, confirm_within, .. } = draft;
    Some(Command::Restore(RestoreRequest { source, check, device, overrides, confirm_within }))
}

pub const ROWS: &[Row] = &[
    row(
        Access::Config,
        &[
            RESTORE,
            REMOTE,
            Part::Word("location", "Fetch the backup from an SSH server"),
            argument(
                "HOST[:PORT]",
                "Name or address of the server, [2001:db8::1]:22 for IPv6",
                |draft, text| keep(&mut draft.endpoint, values::endpoint(text)),
            ),
            argument("USER", "User on the server", |draft, text| keep(&mut draft.user, values::user(text))),
            argument("PATH", "Folder on the server, or the whole path of the file", |draft, text| {
                keep(&mut draft.path, values::path(text))
            }),
            Part::Optional(&[Part::Optional(&[BACKUP]), FILE]),
            Part::Optional(&[
                Part::Word("fingerprint", "The server's host key is known beforehand"),
                argument("FINGERPRINT", "SHA256:... as OpenSSH prints it, or MD5:...", |draft, text| {
                    keep(&mut draft.fingerprint, values::fingerprint(text))
                }),
            ]),
            DEVICE,
            CONFIRM_WITHIN,
            OVERRIDES,
            CHECK,
        ],
        "Restore a backup from an SSH server",
        |draft| {
            let Endpoint { host, port } = draft.endpoint.clone()?;
            let source = Source::Location(Location {
                host,
                port,
                user: draft.user.clone()?,
                path: values::remote_path(draft.path.as_deref()?, draft.file.as_deref())?,
                fingerprint: draft.fingerprint.clone(),
            });
            restore(source, draft)
        },
    ),
    row(
        Access::Config,
        &[RESTORE, REMOTE, Part::Optional(&[BACKUP]), FILE, DEVICE, CONFIRM_WITHIN, OVERRIDES, CHECK],
        "Restore a backup from this appliance's backup folder",
        |draft| restore(Source::Backup(draft.file.clone()?), draft),
    ),
    row(
        Access::Config,
        &[RESTORE, Part::Word("abort", "End the running restore, as long as nothing is changed")],
        "End the running restore, as long as nothing is changed",
        |_| Some(Command::RestoreAbort),
    ),
    row(
        Access::Config,
        &[RESTORE, Part::Word("confirm", "Keep what was restored with `confirm-within`")],
        "Keep what was restored with `confirm-within`",
        |_| Some(Command::RestoreConfirm),
    ),
    row(
        Access::Config,
        &[RESTORE, Part::Word("rollback", "Go back to the configuration before the last restore")],
        "Go back to the configuration before the last restore",
        |_| Some(Command::RestoreRollback),
    ),
    row(
        Access::Config,
        &[RESTORE, Part::Word("factory", "Go back to the configuration as delivered")],
        "Go back to the configuration as delivered",
        |_| Some(Command::RestoreFactory),
    ),
    row(
        Access::Config,
        &[
            Part::Word("clear", "Take something away that is in the way"),
            Part::Word(
                "restore-lock",
                "The restore lock of this appliance, from a restore that does not release it",
            ),
        ],
        "Take the restore lock away from a restore that does not release it",
        |_| Some(Command::ClearRestoreLock),
    ),
];
