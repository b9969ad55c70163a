//! What an admin sees, byte by byte: every command on a terminal of 80 columns and without one.
//!
//! The files in `tests/transcripts` are the promise. `REINSTATE_TRANSCRIPTS=write` writes them anew; then read the
//! difference. «So» stands what was typed and not shown, and what is no byte.
#![allow(clippy::unwrap_used, reason = "what fails here is the test")]

mod coverage;
mod normal;
mod place;
mod play;
mod plays;
mod session;

use session::Size;

pub const SIZES: [(&str, Size); 3] = [
    ("80x24", Size::Terminal { columns: 80, rows: 24 }),
    ("200x50", Size::Terminal { columns: 200, rows: 50 }),
    ("plain", Size::Pipes),
];

macro_rules! transcripts {
    ($($test:ident: $play:literal on $($size:literal as $name:ident),+;)*) => {
        /// Every play, and what it is played on.
        pub const PLAYS: &[(&str, &[&str])] = &[$(($play, &[$($size),+])),*];
        $(mod $test {
            $(#[test]
            fn $name() {
                crate::play::check($play, $size);
            })+
        })*
    };
}

transcripts! {
    everything_that_is_shown: "show" on "80x24" as at_80x24, "plain" as plain;
    the_disk: "show-disk" on "80x24" as at_80x24, "plain" as plain;
    everything_that_is_shown_as_json: "show-json" on "80x24" as at_80x24, "plain" as plain;
    a_member_of_a_pair: "pair" on "80x24" as at_80x24, "plain" as plain;
    a_member_of_a_cluster: "cluster" on "80x24" as at_80x24, "plain" as plain;
    the_network_is_configured: "configure-network" on "80x24" as at_80x24, "plain" as plain;
    people_managers_and_ssh_are_configured: "configure" on "80x24" as at_80x24, "plain" as plain;
    the_expert_mode: "expert" on "80x24" as at_80x24, "plain" as plain;
    configurations_of_the_store: "configuration" on "80x24" as at_80x24, "plain" as plain;
    backups_are_made_brought_and_removed: "backup" on "80x24" as at_80x24, "plain" as plain;
    a_restore_from_the_backup_folder: "restore-file" on "80x24" as at_80x24, "plain" as plain;
    a_restore_from_a_server: "restore-location" on "80x24" as at_80x24, "plain" as plain;
    a_restore_that_is_confirmed_then_taken_back: "restore-confirm" on "80x24" as at_80x24, "plain" as plain;
    the_session_and_the_machine: "session" on "80x24" as at_80x24, "plain" as plain;
    mistakes: "mistakes" on "80x24" as at_80x24, "plain" as plain;
    a_part_of_the_output: "filters" on "80x24" as at_80x24, "plain" as plain;
    keys_that_help_and_edit: "keys" on "80x24" as at_80x24, "200x50" as at_200x50;
    output_page_by_page: "pager" on "80x24" as at_80x24, "200x50" as at_200x50;
    whoever_may_only_look: "operator" on "80x24" as at_80x24, "plain" as plain;
    a_command_without_a_session: "exec" on "plain" as plain;
    the_first_login: "wizard" on "80x24" as at_80x24, "200x50" as at_200x50, "plain" as plain;
    the_first_login_by_dhcp: "wizard-dhcp" on "80x24" as at_80x24, "200x50" as at_200x50, "plain" as plain;
    the_first_login_ends_with_a_restore: "wizard-restore" on "80x24" as at_80x24, "200x50" as at_200x50, "plain" as plain;
    the_first_login_is_left: "wizard-left" on "80x24" as at_80x24, "200x50" as at_200x50, "plain" as plain;
}
