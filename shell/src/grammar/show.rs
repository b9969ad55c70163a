//! What can be shown.

use reinstate_api::Access;

use super::{Command, Draft, Part, Row, View, argument, keep, row};
use crate::values;

const SHOW: Part = Part::Word("show", "Show what is");
const RESTORE: Part = Part::Word("restore", "The running or the last restore");
const JSON: Part = Part::Optional(&[Part::Word("--json", "As the agent's API says it")]);
/// Log lines that are shown where no number is given.
const LINES: u32 = 1000;

fn show(draft: &Draft, view: View) -> Option<Command> {
    Some(Command::Show(view, draft.json))
}

pub const ROWS: &[Row] = &[
    row(Access::Basic, &[SHOW, RESTORE, JSON], "Go to the running restore, or show the last one", |draft| {
        show(&draft, View::Restore)
    }),
    row(
        Access::Basic,
        &[SHOW, RESTORE, Part::Word("detail", "With every path that changes"), JSON],
        "The running or the last restore, with every path that changes",
        |draft| show(&draft, View::RestoreDetail),
    ),
    row(
        Access::Basic,
        &[SHOW, RESTORE, Part::Word("history", "All restores on record, newest first"), JSON],
        "All restores and changes of the configuration on record, newest first",
        |draft| show(&draft, View::RestoreHistory),
    ),
    row(
        Access::Basic,
        &[SHOW, RESTORE, Part::Word("lock", "Who holds the restore lock, here and in the HA group"), JSON],
        "Who holds the restore lock, here and in the HA group",
        |draft| show(&draft, View::RestoreLock),
    ),
    row(
        Access::Basic,
        &[
            SHOW,
            Part::Word("log", "What was logged"),
            Part::Word("restore", "By the restore agent"),
            Part::Optional(&[argument("LINES", "The last so many, 1 to 10000", |draft, text| {
                keep(&mut draft.number, values::number(text, 1..=10_000))
            })]),
            JSON,
        ],
        "What the restore agent has logged, the last 1000 lines",
        |draft| show(&draft, View::RestoreLog(draft.number.unwrap_or(LINES))),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("backups", "Files in the backup folder"), JSON],
        "Files in the backup folder",
        |draft| show(&draft, View::Backups),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("configurations", "Configurations in the store"), JSON],
        "The configurations in the store, by number and name",
        |draft| show(&draft, View::Configurations),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("version", "Model, UUID and software of this appliance"), JSON],
        "Model, UUID and software of this appliance",
        |draft| show(&draft, View::Version),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("model", "The model of this appliance"), JSON],
        "The model of this appliance",
        |draft| show(&draft, View::Model),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("network", "Host name, name servers and the management interface"), JSON],
        "Host name, name servers and the management interface",
        |draft| show(&draft, View::Network),
    ),
    row(
        Access::Basic,
        &[
            SHOW,
            Part::Word("interface", "The network interfaces"),
            Part::Optional(&[argument("NAME", "One of them: management0", |draft, text| {
                keep(&mut draft.name, values::word(text))
            })]),
            JSON,
        ],
        "The network interfaces, or one of them",
        |draft| show(&draft, View::Interface(draft.name.clone())),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("managers", "The manager of this appliance"), JSON],
        "The manager of this appliance",
        |draft| show(&draft, View::Managers),
    ),
    row(
        Access::Basic,
        &[
            SHOW,
            Part::Word("high-availability", "This appliance's HA pair"),
            Part::Word("config", "Members, roles and states"),
            JSON,
        ],
        "Members, roles and states of the HA pair",
        |draft| show(&draft, View::HighAvailability),
    ),
    row(
        Access::Basic,
        &[
            SHOW,
            Part::Word("cluster", "This appliance's cluster"),
            Part::Word("info", "Members, roles and states"),
            JSON,
        ],
        "Members, roles and states of the cluster",
        |draft| show(&draft, View::Cluster),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("ssh", "From where SSH is open, and which servers are trusted"), JSON],
        "From where SSH is open, and which servers are trusted",
        |draft| show(&draft, View::Ssh),
    ),
    row(
        Access::Basic,
        &[
            SHOW,
            Part::Word("public-key", "This appliance's key, for a backup server's authorized_keys"),
            JSON,
        ],
        "This appliance's key, for a backup server's authorized_keys",
        |draft| show(&draft, View::PublicKey),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("users", "Who has an account"), JSON],
        "Who has an account, and what they may do",
        |draft| show(&draft, View::Users),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("time", "Time, time zone, and how long this appliance is up"), JSON],
        "Time, time zone, and how long this appliance is up",
        |draft| show(&draft, View::Time),
    ),
    row(
        Access::Basic,
        &[SHOW, Part::Word("disk", "Space on the disk, and what takes it"), JSON],
        "Space on the disk, and what takes it",
        |draft| show(&draft, View::Disk),
    ),
    row(
        Access::Config,
        &[SHOW, Part::Word("tech-support", "Make an archive for the product's support"), JSON],
        "Make an archive for the product's support, without secrets",
        |draft| show(&draft, View::TechSupport),
    ),
];
