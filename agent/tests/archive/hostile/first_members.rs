//! The manifest and the list of digests.

use reinstate_api::Code;

use super::{failure, good, refused};
use crate::build::{Parts, file, folder};

#[test]
fn the_manifest_must_be_the_first_member() {
    let parts = Parts::of(vec![good()]);
    let end = &parts.end;
    let bytes = [parts.sums.bytes(), parts.manifest.bytes(), good().bytes(), end.clone()].concat();
    refused(&bytes, &["first member is 'SHA256SUMS'", "'manifest.toml'"]);
    refused(&[good().bytes(), end.clone()].concat(), &["first member is 'config/net/etc/hosts'"]);
    refused(end, &["first member is missing"]);
    refused(&[folder("manifest.toml").bytes(), end.clone()].concat(), &["first member is no file"]);
    refused(&[file("./manifest.toml").bytes(), end.clone()].concat(), &["'./manifest.toml'"]);
}

#[test]
fn the_list_of_digests_must_be_the_second_member() {
    let parts = Parts::of(vec![good()]);
    let bytes = [parts.manifest.bytes(), good().bytes(), parts.sums.bytes(), parts.end.clone()].concat();
    refused(&bytes, &["second member is 'config/net/etc/hosts'", "'SHA256SUMS'"]);
    refused(&[parts.manifest.bytes(), parts.end].concat(), &["second member is missing"]);
}

#[test]
fn manifest_and_list_come_once() {
    let parts = || Parts::of(vec![good()]);
    for again in [parts().manifest, parts().sums] {
        let mut parts = parts();
        parts.members.push(again);
        refused(&parts.bytes(), &["is outside config/<domain>/"]);
    }
}

#[test]
fn another_list_than_the_manifest_means_is_a_wrong_digest() {
    let mut parts = Parts::of(vec![good()]);
    parts.sums.content[0] ^= 1;
    let failure = failure(&parts.bytes());
    assert_eq!(failure.code, Code::DigestMismatch);
    assert!(
        failure.message.contains("SHA256SUMS has SHA-256") && failure.message.contains("manifest.toml says")
    );
}

#[test]
fn a_later_format_is_refused_with_both_numbers() {
    let format = |text: &mut String| *text = text.replace("format = 1", "format = 2\nnew = 3");
    let failure = failure(&Parts::with(vec![good()], format, |_| {}).bytes());
    assert_eq!(failure.code, Code::ArchiveFormat);
    assert!(failure.message.contains("format 2") && failure.message.contains("format 1"), "{failure}");
}

#[test]
fn an_unknown_key_of_the_manifest_is_refused() {
    for (key, from, to) in [
        ("extra", "format = 1", "format = 1\nextra = 2"),
        ("colour", "model = ", "colour = 1\nmodel = "),
        ("colour", "optional = false", "optional = false\ncolour = 1"),
    ] {
        let change = |text: &mut String| {
            assert!(text.contains(from), "{text}");
            *text = text.replacen(from, to, 1);
        };
        refused(&Parts::with(vec![good()], change, |_| {}).bytes(), &["manifest.toml, line", key]);
    }
}

#[test]
fn a_manifest_nested_without_end_is_refused() {
    let deep = "a.".repeat(100_000);
    for nested in [
        format!("x = {}", "[".repeat(200_000)),
        format!("x = {}", "{a=".repeat(60_000)),
        format!("{deep}a = 1"),
        format!("[{deep}a]"),
    ] {
        let change = |text: &mut String| text.push_str(&format!("\n{nested}\n"));
        refused(&Parts::with(vec![good()], change, |_| {}).bytes(), &["manifest.toml, line"]);
    }
}

#[test]
fn other_counts_than_the_manifest_says_are_refused() {
    for (from, to, says) in [
        ("files = 1", "files = 2", "1 files of 8 bytes of the domain 'net', manifest.toml says 2 of 8"),
        ("files = 1", "files = 0", "says 0 of 8"),
        ("bytes = 8", "bytes = 7", "says 1 of 7"),
        ("bytes = 8", "bytes = 9", "says 1 of 9"),
        ("name = \"net\"", "name = \"other\"", "'net', which manifest.toml does not declare"),
        ("name = \"net\"", "name = \"../x\"", "'../x' is no domain's name"),
    ] {
        let change = |text: &mut String| {
            assert!(text.contains(from), "{text}");
            *text = text.replace(from, to);
        };
        refused(&Parts::with(vec![good()], change, |_| {}).bytes(), &[says]);
    }
}
