//! Backups copied onto the appliance and off it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use reinstate_api::{BackupFile, Code, Created, Failure};

use super::access::Caller;
use super::{Answered, Refused, blocking};
use crate::engine::Engine;

/// What is read of a file at a time: 256 KiB.
const CHUNK: u64 = 256 << 10;

/// What the disk is asked for ahead: 4 MiB.
const AHEAD: i64 = 4 << 20;

pub(super) fn routes() -> Router<Engine> {
    Router::new().route("/v1/files", get(list)).route("/v1/files/{name}", get(read).put(write).delete(remove))
}

/// `offset=N`, or nothing.
fn offset(query: Option<&str>) -> Result<u64, Refused> {
    let Some(query) = query else { return Ok(0) };
    let number = query.strip_prefix("offset=").and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        Failure::new(Code::BadRequest, format!("'{query}' is not offset=N, with a number of bytes")).into()
    })
}

async fn list(State(engine): State<Engine>) -> Answered<Vec<BackupFile>> {
    Ok(Json(blocking(move || engine.list_files()).await?))
}

/// The length is in the head, so that whoever reads knows when it is cut.
async fn read(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let offset = offset(query.as_deref())?;
    let (file, length) = blocking(move || {
        let cannot = |e: std::io::Error| Failure::io(format_args!("cannot read {name}"), &e);
        let mut file = engine.open_file(&name)?;
        let size = file.metadata().map_err(cannot)?.len();
        let offset = file.seek(SeekFrom::Start(offset.min(size))).map_err(cannot)?;
        Ok((file, size - offset))
    })
    .await?;
    let content = stream::unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return None;
        }
        let read =
            tokio::task::spawn_blocking(move || chunk(&mut file, left).map(|chunk| (chunk, file))).await;
        let read = read.map_err(std::io::Error::other).and_then(|read| read);
        // A file that has become shorter ends the connection before the length that was announced.
        let (chunk, file) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!("a backup cannot be read on: {error}");
                return None;
            }
        };
        let left = left - chunk.len() as u64;
        Some((Ok::<_, std::io::Error>(chunk), (file, left)))
    });
    let head = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, length.to_string())];
    Ok((head, Body::from_stream(content)).into_response())
}

fn chunk(file: &mut File, left: u64) -> std::io::Result<Bytes> {
    let at = file.stream_position()? as i64;
    // While one piece is sent the disk reads the next ones; what was sent is not kept in memory. Both are only advice.
    let _ = posix_fadvise(&*file, at, AHEAD, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    let mut chunk = vec![0; left.min(CHUNK) as usize];
    file.read_exact(&mut chunk)?;
    let _ = posix_fadvise(&*file, at, chunk.len() as i64, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    Ok(chunk.into())
}

/// A refusal comes before the body is asked for.
async fn write(
    State(engine): State<Engine>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Answered<Created> {
    let told = |failure: &Failure| {
        // OpenSSH's clients do not show the sentence that comes with a status.
        tracing::warn!(by = %caller.name, "an upload was refused or has ended: {}", failure.message);
    };
    let file = name.clone();
    let upload = blocking(move || engine.begin_upload(&file)).await.inspect_err(told)?;
    let created = upload.receive(body.into_data_stream()).await.inspect_err(told)?;
    tracing::info!(by = %caller.name, bytes = created.bytes, "{} was copied to /var/sf/backup", created.file);
    Ok(Json(created))
}

async fn remove(State(engine): State<Engine>, Path(name): Path<String>) -> Answered<serde_json::Value> {
    blocking(move || engine.delete_file(&name)).await?;
    Ok(Json(serde_json::json!({})))
}
