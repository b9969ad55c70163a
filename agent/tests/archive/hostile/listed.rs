//! What is listed is what comes.

use reinstate_api::Code;

use super::{failure, good, refused};
use crate::build::{Parts, archive, file, folder, link};

#[test]
fn a_file_with_another_digest_is_named_with_both_digests() {
    let digest = reinstate_agent::tree::Digest::of(b"content\n").to_string();
    let other = reinstate_agent::tree::Digest::of(b"other").to_string();
    let list = |text: &mut String| *text = text.replace(&digest, &other);
    let failure = failure(&Parts::with(vec![good()], |_| {}, list).bytes());
    assert_eq!(failure.code, Code::DigestMismatch);
    for part in ["config/net/etc/hosts", &digest, &other] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[test]
fn a_member_that_is_not_listed_is_refused() {
    for extra in [file("config/net/x"), folder("config/net/x"), link("config/net/x", "y")] {
        refused(&archive(vec![good(), extra.unlisted()]), &["'config/net/x' is not listed in SHA256SUMS"]);
    }
    refused(&archive(vec![good(), file("config/other/x").unlisted()]), &["'config/other/x' is not listed"]);
    refused(&archive(vec![good(), folder("config/other").unlisted()]), &["'other'", "does not declare"]);
}

#[test]
fn a_listed_member_that_does_not_come_is_refused() {
    for missing in [file("config/net/x"), folder("config/net/x"), link("config/net/x", "y")] {
        let mut parts = Parts::of(vec![good(), missing]);
        parts.members.pop();
        refused(&parts.bytes(), &["config/net/x", "listed in SHA256SUMS, but not in the archive"]);
    }
}

#[test]
fn a_member_that_comes_twice_is_refused() {
    for twice in [good(), folder("config/net/etc"), link("config/net/etc/link", "y")] {
        let says = ["comes a second time"];
        refused(&archive(vec![twice.clone(), twice.clone().unlisted()]), &says);
    }
    let twice = || folder("config/net").unlisted();
    refused(&archive(vec![twice(), good(), twice()]), &["'config/net' comes a second time"]);
    let implied = || folder("config/net/etc").unlisted();
    refused(&archive(vec![implied(), good(), implied()]), &["'config/net/etc' comes a second time"]);
}

#[test]
fn a_file_where_a_folder_was_is_refused_and_a_folder_where_a_file_was() {
    let members = vec![folder("config/net/etc"), file("config/net/etc").unlisted()];
    refused(&archive(members), &["comes a second time"]);
    let members = vec![good(), folder("config/net/etc/hosts/").unlisted()];
    refused(&archive(members), &["comes a second time"]);
    let members = vec![good(), file("config/net/etc").unlisted()];
    refused(&archive(members), &["'config/net/etc' is not listed"]);
    for domain in [file("config/net").unlisted(), link("config/net", "/").unlisted()] {
        refused(&archive(vec![good(), domain]), &["'config/net' is not a folder"]);
    }
    refused(&archive(vec![good(), link("config", "/").unlisted()]), &["'config' is not a folder"]);
}

#[test]
fn nothing_is_taken_below_a_file_or_a_link() {
    for above in [file("config/net/a"), link("config/net/a", "/etc")] {
        for name in ["config/net/a/b", "config/net/a/b/c"] {
            let members = vec![above.clone(), file(name)];
            refused(&archive(members), &[name, "below 'config/net/a', which is no folder"]);
            let members = vec![above.clone(), file(name).unlisted()];
            refused(&archive(members), &[name, "not listed"]);
        }
    }
}

#[test]
fn a_folder_after_what_is_in_it_is_refused() {
    let members = vec![good(), folder("config/net/etc")];
    refused(&archive(members), &["'config/net/etc/hosts' comes before its folder 'config/net/etc'"]);
}

#[test]
fn a_header_that_says_something_else_than_the_list_is_refused() {
    type Change = fn(&mut crate::build::Member);
    let change: [(Change, &str); 5] = [
        (|m| m.mode = 0o600, "has the mode 600, SHA256SUMS lists 644"),
        (|m| m.owner = "daemon".into(), "belongs to daemon:root, SHA256SUMS lists root:root"),
        (|m| m.group = "daemon".into(), "belongs to root:daemon, SHA256SUMS lists root:root"),
        (|m| m.flag = b'5', "is a folder, yet has 8 bytes"),
        (|m| m.content.push(b'x'), "has the size 9, SHA256SUMS lists 8"),
    ];
    for (change, says) in change {
        let mut parts = Parts::of(vec![good()]);
        change(&mut parts.members[0]);
        refused(&parts.bytes(), &["config/net/etc/hosts", says]);
    }
    let mut parts = Parts::of(vec![link("config/net/a", "b")]);
    parts.members[0].link = b"c".to_vec();
    refused(&parts.bytes(), &["points to 'c', SHA256SUMS lists 'b'"]);
    let mut parts = Parts::of(vec![link("config/net/a", "b")]);
    parts.members[0] = folder("config/net/a");
    refused(&parts.bytes(), &["is a folder, SHA256SUMS lists a link"]);
}
