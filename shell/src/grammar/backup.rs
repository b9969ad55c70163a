//! Backups of this appliance.

use reinstate_api::{Access, ExtractRequest, ImportRequest};

use super::{Command, Part, Row, argument, backup_file, keep, row};
use crate::values;

const BACKUP: Part = Part::Word("backup", "Backups of this appliance");

pub const ROWS: &[Row] = &[
    row(
        Access::Config,
        &[BACKUP, Part::Word("create", "Back this appliance up into its backup folder")],
        "Back this appliance up into its backup folder",
        |_| Some(Command::BackupCreate),
    ),
    row(
        Access::Config,
        &[
            BACKUP,
            Part::Word("import", "Take a backup from elsewhere"),
            Part::Word("medium", "From the medium with the label REINSTATE"),
            Part::Optional(&[argument("FILE", "Name of the file on the medium", |draft, text| {
                keep(&mut draft.file, values::file(text))
            })]),
        ],
        "Copy a backup from the medium with the label REINSTATE",
        |draft| Some(Command::BackupImport(ImportRequest { file: draft.file })),
    ),
    row(
        Access::Config,
        &[
            BACKUP,
            Part::Word("extract", "Take archives out of a cluster's bundle"),
            backup_file("BUNDLE", "Name of the bundle in the backup folder", |draft, text| {
                keep(&mut draft.file, values::file(text))
            }),
            Part::Optional(&[argument(
                "NODE",
                "Host name of one node, or the name of its archive",
                |draft, text| keep(&mut draft.node, values::file(text)),
            )]),
        ],
        "Take the archive of one node, or all of them, out of a cluster's bundle",
        |draft| Some(Command::BackupExtract(ExtractRequest { bundle: draft.file?, node: draft.node })),
    ),
    row(
        Access::Config,
        &[
            BACKUP,
            Part::Word("delete", "Remove a backup from the backup folder"),
            backup_file("FILE", "Name of the backup file", |draft, text| {
                keep(&mut draft.file, values::file(text))
            }),
        ],
        "Remove a backup from the backup folder",
        |draft| Some(Command::BackupDelete(draft.file?)),
    ),
];
