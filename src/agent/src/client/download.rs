//! Downloads that survive a broken connection: the part that is there is kept, and the rest asked for by range.
//!
//! Invariant: the file never grows beyond the announced size, and success means exactly that size. Whether the bytes are the
//! right ones is for the caller to check. No credential is sent: the URL carries its own.

use super::{Client, refused, unreachable};
use crate::call::{CallError, causes};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, RANGE};
use hyper::{Request, Response, StatusCode, Uri};
use std::path::Path;
use std::time::Duration;
use thiserror::Error;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt, SeekFrom};
use tokio::time::{Instant, timeout};

/// No byte for this long is a broken connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The next download goes on where this one stopped.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(900);
/// Connections in a row that brought nothing.
const FRUITLESS_MAX: u32 = 3;
const CONNECTIONS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Error)]
pub enum DownloadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the download stopped at {have} of {size} bytes: {cause}")]
    Broken { have: u64, size: u64, cause: String },
    #[error("the server sends more than the {0} bytes that were announced")]
    TooLong(u64),
    #[error("the download did not end within {} s", TOTAL_TIMEOUT.as_secs())]
    TooSlow,
    #[error("could not write the download")]
    Write(#[from] std::io::Error),
}

/// How one connection ended.
enum Part {
    Complete,
    Broken(String),
    /// The server does not continue where the file ends.
    Restart,
}

impl Client {
    /// Fetches `size` bytes from `url` into the file at `path`, going on with what is there.
    pub async fn download(&self, url: &str, size: u64, path: &Path) -> Result<(), DownloadError> {
        let url: Uri = url.parse().map_err(|_| CallError::Malformed("the download URL is no URL".into()))?;
        let work = self.parts(&url, size, path);
        timeout(TOTAL_TIMEOUT, work).await.unwrap_or(Err(DownloadError::TooSlow))
    }

    async fn parts(&self, url: &Uri, size: u64, path: &Path) -> Result<(), DownloadError> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path).await?;
        let mut fruitless = 0;
        for _ in 0..CONNECTIONS_MAX {
            let mut have = file.metadata().await?.len();
            if have > size {
                file.set_len(0).await?;
                have = 0;
            }
            if have == size {
                return Ok(());
            }
            file.seek(SeekFrom::Start(have)).await?;
            let cause = match self.part(url, have, size, &mut file).await? {
                Part::Complete => continue,
                Part::Broken(cause) => cause,
                Part::Restart => {
                    file.set_len(0).await?;
                    "the server does not continue it".to_owned()
                }
            };
            let now_have = file.metadata().await?.len();
            fruitless = if now_have > have { 0 } else { fruitless + 1 };
            if fruitless >= FRUITLESS_MAX {
                return Err(DownloadError::Broken { have: now_have, size, cause });
            }
            if fruitless > 0 {
                tokio::time::sleep(PAUSE * fruitless).await;
            }
        }
        let have = file.metadata().await?.len();
        Err(DownloadError::Broken { have, size, cause: format!("{CONNECTIONS_MAX} connections broke") })
    }

    /// One connection. Only what another connection cannot cure is an error.
    async fn part(&self, url: &Uri, have: u64, size: u64, file: &mut File) -> Result<Part, DownloadError> {
        let request = Request::get(url).header(RANGE, format!("bytes={have}-")).body(Full::<Bytes>::default());
        let request = request.map_err(|_| CallError::Malformed("the download URL cannot be requested".into()))?;
        let response = match timeout(STALL_TIMEOUT, self.http.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Ok(Part::Broken(unreachable(error).to_string())),
            Err(_) => return Ok(Part::Broken("no answer".to_owned())),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, have) => {
                append(response.into_body(), have, size, file).await
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(Part::Restart),
            StatusCode::OK => {
                file.set_len(0).await?;
                file.seek(SeekFrom::Start(0)).await?;
                append(response.into_body(), 0, size, file).await
            }
            status => {
                let (head, body) = response.into_parts();
                let error = timeout(STALL_TIMEOUT, refused(status, &head.headers, body)).await;
                Err(error.unwrap_or_else(|_| CallError::refused(status.as_u16(), b"", None)).into())
            }
        }
    }
}

fn starts_at(response: &Response<Incoming>, have: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

async fn append(mut body: Incoming, mut have: u64, size: u64, file: &mut File) -> Result<Part, DownloadError> {
    let started = Instant::now();
    let end = loop {
        let frame = match timeout(STALL_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => break Part::Broken(causes(&error)),
            Ok(None) if have == size => break Part::Complete,
            Ok(None) => break Part::Broken("the connection ended early".to_owned()),
            Err(_) => break Part::Broken("the connection stalled".to_owned()),
        };
        let Ok(bytes) = frame.into_data() else { continue };
        have += bytes.len() as u64;
        if have > size {
            return Err(DownloadError::TooLong(size));
        }
        file.write_all(&bytes).await?;
    };
    file.flush().await?;
    tracing::debug!(have, size, elapsed = ?started.elapsed(), "download part");
    Ok(end)
}
