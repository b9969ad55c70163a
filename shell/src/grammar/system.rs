//! The appliance itself, and the session.

use reinstate_api::Access;

use super::{Command, Part, Row, argument, keep, row};
use crate::values;

/// Echo requests where no number is given.
const COUNT: u32 = 4;

pub const ROWS: &[Row] = &[
    row(
        Access::Basic,
        &[
            Part::Word("ping", "Look whether a machine answers"),
            argument("HOST", "Name or address", |draft, text| keep(&mut draft.host, values::host(text))),
            Part::Optional(&[argument("COUNT", "How often, 1 to 1000", |draft, text| {
                keep(&mut draft.number, values::number(text, 1..=1000))
            })]),
        ],
        "Look whether a machine answers, 4 times",
        |draft| Some(Command::Ping(draft.host?, u16::try_from(draft.number.unwrap_or(COUNT)).ok()?)),
    ),
    row(Access::Config, &[Part::Word("reboot", "Restart this appliance")], "Restart this appliance", |_| {
        Some(Command::Reboot)
    }),
    row(
        Access::Config,
        &[Part::Word("shutdown", "Switch this appliance off")],
        "Switch this appliance off",
        |_| Some(Command::Shutdown),
    ),
    row(
        Access::Config,
        &[Part::Word("expert", "A shell of the operating system, where it is allowed")],
        "A shell of the operating system, where it is allowed",
        |_| Some(Command::Expert),
    ),
    row(
        Access::Basic,
        &[Part::Word("help", "List every command")],
        "List every command; ? after a word lists what may follow",
        |_| Some(Command::Help),
    ),
    row(
        Access::Basic,
        &[Part::Word("history", "The lines that were typed")],
        "The lines that were typed",
        |_| Some(Command::History),
    ),
    row(Access::Basic, &[Part::Word("exit", "End the session")], "End the session", |_| Some(Command::Exit)),
    row(Access::Basic, &[Part::Word("logout", "End the session")], "End the session", |_| {
        Some(Command::Exit)
    }),
];
