use jiff::Timestamp;
use jiff::tz::TimeZone;
use reinstate_api::{DeviceIdentity, Failure, Role, TECH_SUPPORT};

use super::{invalid, shown};
use crate::tree::TreePath;

/// The longest member name: `config/`, a domain, a path and a folder's slash.
pub(super) const MAX_NAME: usize = "config/".len() + MAX_DOMAIN + 1 + TreePath::MAX_BYTES + 1;
/// The longest name of an owner or a group.
pub(super) const MAX_OWNER: usize = 32;
const MAX_DOMAIN: usize = 32;
const MAX_TARGET: usize = 1024;

/// The name of an archive made now: `<host>_<YYYYMMDDHHMMSS>.tar`, in UTC, with the role between
/// them where the device has one.
///
/// Characters of the host name that a file name should not have become `-`.
pub fn file_name(device: &DeviceIdentity, created: Timestamp) -> String {
    let (host, at) = (host_part(&device.hostname), time_part(created));
    match device.role {
        Role::Standalone => format!("{host}_{at}.tar"),
        role => format!("{host}_{role}_{at}.tar"),
    }
}

/// What a file is called that tells of an appliance and restores nothing.
pub fn tech_support_name(hostname: &str, created: Timestamp) -> String {
    format!("{}_{}{TECH_SUPPORT}", host_part(hostname), time_part(created))
}

fn host_part(hostname: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }
    };
    let host: String = hostname.chars().map(plain).take(128).collect();
    match host.trim_start_matches(['.', '-']) {
        "" => "appliance".into(),
        host => host.into(),
    }
}

fn time_part(created: Timestamp) -> String {
    created.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S").to_string()
}

/// The role that a file name tells; none where it tells none. A hint: the manifest decides.
pub fn role_in_name(file: &str) -> Option<Role> {
    parts(file)?.1
}

/// The host that a file name tells; none where it is no archive's name. A hint: the manifest decides.
pub fn host_in_name(file: &str) -> Option<&str> {
    parts(file).map(|(host, _)| host).filter(|_| is_archive_name(file))
}

/// What [`file_name`] makes, or the same with `.gz`; the host of 1 to 128 of a-z, A-Z, 0-9, '.', '-' and
/// '_', the first a letter or a digit. So it is a file's name and no path.
pub fn is_archive_name(file: &str) -> bool {
    parts(file).is_some_and(|(host, _)| {
        host.len() <= 128
            && host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    })
}

/// The cluster that a bundle's name tells, `<cluster>.<timestamp>.tar.gz`; none where it tells none.
pub fn cluster_in_name(file: &str) -> Option<&str> {
    let (cluster, at) = stem(file)?.rsplit_once('.')?;
    let is_time = at.starts_with(|c: char| c.is_ascii_digit())
        && at.len() >= 8
        && at.bytes().all(|b| b.is_ascii_digit() || b"-_:TZ".contains(&b));
    (is_time && !cluster.is_empty()).then_some(cluster)
}

/// Host and role, where the rest is as in an archive's name.
fn parts(file: &str) -> Option<(&str, Option<Role>)> {
    let (rest, at) = stem(file)?.rsplit_once('_')?;
    if at.len() != 14 || !at.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let role = |word: &str| Role::ALL.into_iter().find(|role| role.as_str() == word);
    match rest.rsplit_once('_').map(|(host, word)| (host, role(word))) {
        Some((host, Some(role))) if !host.is_empty() && role != Role::Standalone => Some((host, Some(role))),
        _ => (!rest.is_empty()).then_some((rest, None)),
    }
}

fn stem(file: &str) -> Option<&str> {
    file.strip_suffix(".gz").unwrap_or(file).strip_suffix(".tar")
}

/// `[a-z][a-z0-9-]{0,31}`
pub fn is_domain_name(name: &str) -> bool {
    name.len() <= MAX_DOMAIN
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `[a-z_][a-z0-9_-]*[$]?`, at most 32 bytes.
pub(super) fn is_owner_name(name: &str) -> bool {
    let rest = name.strip_suffix('$').unwrap_or(name);
    name.len() <= MAX_OWNER
        && rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// What a link may point to: 1 to 1,024 bytes, without control characters and backslashes. Absolute
/// targets and `..` are its domain's to judge; nothing here follows a link.
pub(super) fn is_link_target(target: &str) -> bool {
    !target.is_empty() && target.len() <= MAX_TARGET && !target.chars().any(|c| c.is_control() || c == '\\')
}

/// Where a member below `config/` belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// `config` itself.
    Root,
    /// `config/<domain>` itself.
    Domain(&'a str),
    Path(&'a str, TreePath),
}

/// Takes a member's name apart, a folder's trailing slash already removed.
pub(super) fn place(name: &str) -> Result<Place<'_>, Failure> {
    if name == "config" {
        return Ok(Place::Root);
    }
    let outside = || invalid(format!("member {} is outside config/<domain>/", shown(name)));
    let rest = name.strip_prefix("config/").ok_or_else(outside)?;
    let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
    if !is_domain_name(domain) {
        return Err(invalid(format!(
            "member {}: {} is no domain's name; one is 1 to 32 of a-z, 0-9 and '-'",
            shown(name),
            shown(domain)
        )));
    }
    match path {
        None => Ok(Place::Domain(domain)),
        Some(path) => {
            let path = path.parse().map_err(|why| invalid(format!("member {}: {why}", shown(name))))?;
            Ok(Place::Path(domain, path))
        }
    }
}

/// The member's name of a path in a domain.
pub(super) fn member_name(domain: &str, path: &TreePath) -> String {
    format!("config/{domain}/{}", path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(hostname: &str, role: Role) -> DeviceIdentity {
        DeviceIdentity { hostname: hostname.into(), role, ..Default::default() }
    }

    #[test]
    fn a_file_name_tells_host_role_and_time() {
        let at: Timestamp = "2025-03-04T05:06:07.9+01:00".parse().unwrap();
        assert_eq!(file_name(&device("fw-a", Role::Standalone), at), "fw-a_20250304040607.tar");
        for role in Role::ALL {
            let name = file_name(&device("fw.example", role), at);
            assert_eq!(role_in_name(&name), (role != Role::Standalone).then_some(role), "{name}");
            assert_eq!(role_in_name(&format!("{name}.gz")), role_in_name(&name));
        }
    }

    #[test]
    fn a_host_name_cannot_make_a_path_or_a_role_of_the_file_name() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(file_name(&device("../../etc/x", Role::Standalone), at), "etc-x_19700101000000.tar");
        assert_eq!(file_name(&device("", Role::Data), at), "appliance_data_19700101000000.tar");
        assert_eq!(role_in_name(&file_name(&device("a_primary", Role::Standalone), at)), None);
    }

    #[test]
    fn a_name_outside_the_convention_tells_no_role() {
        for name in [
            "x.tar",
            "primary_20250304040607.tar",
            "_primary_20250304040607.tar",
            "fw_primary_2025.tar",
            "fw_primary_20250304040607.zip",
            "fw_PRIMARY_20250304040607.tar",
            "fw_standalone_20250304040607.tar",
        ] {
            assert_eq!(role_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn an_archives_name_is_never_a_path() {
        for (name, host) in [
            ("fw-a_20250304040607.tar", "fw-a"),
            ("fw_a_control_20250304040607.tar", "fw_a"),
            ("fw.example_data_20250304040607.tar.gz", "fw.example"),
        ] {
            assert!(is_archive_name(name), "{name}");
            assert_eq!(host_in_name(name), Some(host));
        }
        let long = format!("{}_control_20250304040607.tar", "a".repeat(129));
        for name in [
            "../x_control_20250304040607.tar",
            "x/y_control_20250304040607.tar",
            "/x_control_20250304040607.tar",
            "./x_control_20250304040607.tar",
            ".x_control_20250304040607.tar",
            "-x_control_20250304040607.tar",
            "_control_20250304040607.tar",
            "x\n_control_20250304040607.tar",
            "x y_control_20250304040607.tar",
            "x\\y_control_20250304040607.tar",
            "ü_control_20250304040607.tar",
            "x_control_2025030404060.tar",
            "x_control_20250304040607.tar/",
            "x_control_20250304040607.tar.part",
            "x_control_20250304040607.zip",
            "manifest.toml",
            "",
            &long,
        ] {
            assert!(!is_archive_name(name), "{name}");
            assert_eq!(host_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_bundles_name_tells_its_cluster() {
        for (name, cluster) in [
            ("edge.20250304040607.tar.gz", Some("edge")),
            ("edge.dc-1.2025-03-04T04:06:07Z.tar", Some("edge.dc-1")),
            ("edge.tar.gz", None),
            ("edge.new.tar.gz", None),
            (".20250304040607.tar.gz", None),
            ("edge.20250304040607.zip", None),
        ] {
            assert_eq!(cluster_in_name(name), cluster, "{name}");
        }
    }

    #[test]
    fn owners_are_portable_account_names() {
        for good in ["root", "_chrony", "systemd-network", "host1$", &"a".repeat(32)] {
            assert!(is_owner_name(good), "{good}");
        }
        for bad in ["", "$", "0", "-x", "Root", "a b", "a$b", "ä", "a\n", &"a".repeat(33)] {
            assert!(!is_owner_name(bad), "{bad}");
        }
    }
}
