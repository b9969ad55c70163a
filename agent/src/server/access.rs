//! Who may do what: decided for each request, by the account of whoever is at the other end.

use std::convert::Infallible;
use std::ffi::CString;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use reinstate_api::{Access, Code, Failure, one_line};

use super::error::{self, Refused};
use super::peer::Peer;
use crate::accounts::{ADMINS, OPERATORS};

/// What is below this is a backup, with every key in it.
const DOWNLOADS: &str = "/v1/files/";

/// What whoever may only look may ask for all the same: the handler of `configure` lets them change their own password.
const POSTS: [&str; 3] = ["/v1/ping", "/v1/configure", "/v1/password/check"];

/// Whose request it is.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: String,
    pub access: Access,
}

impl Caller {
    fn of(peer: &Peer) -> Result<Self, Refused> {
        let uid = peer.uid().ok_or_else(error::unknown_peer)?;
        let name = peer.name();
        match access(uid, &name)? {
            Some(access) => Ok(Self { name, access }),
            None => Err(Failure::new(
                Code::Forbidden,
                format!("{name} is a member of neither {ADMINS} nor {OPERATORS}: only those are served"),
            )
            .hint("ask an admin for access to this appliance")
            .into()),
        }
    }

    fn may(&self, method: &Method, path: &str) -> Result<(), Refused> {
        let looks = *method == Method::GET && !path.starts_with(DOWNLOADS);
        let posts = *method == Method::POST && POSTS.contains(&path);
        match self.access {
            Access::Basic if !looks && !posts => Err(Failure::new(
                Code::Forbidden,
                format!(
                    "{} may only look: {method} {} takes a member of {ADMINS}",
                    self.name,
                    one_line(path)
                ),
            )
            .hint("ask an admin")
            .into()),
            Access::Basic | Access::Config => Ok(()),
        }
    }
}

/// The one who put it there is the middleware, which every request passes.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        parts.extensions.get().cloned().ok_or_else(error::unknown_peer)
    }
}

/// Every request is logged with its account, also one that is refused.
pub async fn permitted_only(
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, Infallible> {
    let path = request.uri().path();
    if request.method() == Method::GET {
        tracing::debug!(by = %peer.name(), "GET {path}");
    } else {
        tracing::info!(by = %peer.name(), "{} {path}", request.method());
    }
    let permitted = Caller::of(&peer).and_then(|caller| {
        caller.may(request.method(), path)?;
        Ok(caller)
    });
    Ok(match permitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    })
}

/// As the account database has it at this moment. Root and the daemon itself need no group.
fn access(uid: Uid, name: &str) -> Result<Option<Access>, Failure> {
    if uid.is_root() || uid == geteuid() {
        return Ok(Some(Access::Config));
    }
    let cannot =
        |errno: Errno| Failure::io(format_args!("cannot look up the groups of {name}"), &errno.into());
    let Some(user) = User::from_uid(uid).map_err(cannot)? else { return Ok(None) };
    let login = CString::new(user.name).map_err(|_| cannot(Errno::EINVAL))?;
    let own: Vec<Gid> = getgrouplist(&login, user.gid).map_err(cannot)?;
    for (group, access) in [(ADMINS, Access::Config), (OPERATORS, Access::Basic)] {
        if Group::from_name(group).map_err(cannot)?.is_some_and(|group| own.contains(&group.gid)) {
            return Ok(Some(access));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_only_look_gets_what_shows_pings_and_asks_for_a_new_password() {
        let caller = |access| Caller { name: "bob".into(), access };
        for (method, path, looks) in [
            (Method::GET, "/v1/status", true),
            (Method::GET, "/v1/files", true),
            (Method::POST, "/v1/ping", true),
            (Method::POST, "/v1/configure", true),
            (Method::GET, "/v1/files/fw-a.tar", false),
            (Method::HEAD, "/v1/files/fw-a.tar", false),
            (Method::POST, "/v1/restore", false),
            (Method::POST, "/v1/configure/", false),
            (Method::DELETE, "/v1/manager", false),
            (Method::PUT, "/v1/ping", false),
        ] {
            assert_eq!(caller(Access::Basic).may(&method, path).is_ok(), looks, "{method} {path}");
            assert!(caller(Access::Config).may(&method, path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn root_needs_no_group_and_a_number_without_an_account_gets_nothing() {
        assert_eq!(access(Uid::from_raw(0), "root").unwrap(), Some(Access::Config));
        assert_eq!(access(geteuid(), "me").unwrap(), Some(Access::Config));
        assert_eq!(access(Uid::from_raw(4_000_000_000), "nobody's").unwrap(), None);
    }
}
