//! Archives behind signed URLs, streamed in pieces, so that a transfer's memory does not grow with the archive. One range
//! per request (RFC 9110 §14); several are answered with the whole.

mod range;

use crate::call::Call;
use crate::reply::Refusal;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use contract::ApiError;
use control::{DOWNLOAD_READ_BYTES_MAX, Download};
use futures_util::{StreamExt, stream};
use range::{Asked, asked};
use std::ops::Range;

/// Bytes in memory per transfer.
const PIECE_BYTES_MAX: u64 = if DOWNLOAD_READ_BYTES_MAX < 1 << 20 { DOWNLOAD_READ_BYTES_MAX } else { 1 << 20 };
const ZSTD: HeaderValue = HeaderValue::from_static("application/zstd");

pub(crate) async fn archive(call: Call) -> Result<Response<Body>, Refusal> {
    let verdict = call.take_by_address()?;
    let mut response = match transfer(&call).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    Ok(response)
}

async fn transfer(call: &Call) -> Result<Response<Body>, Refusal> {
    let query = call.query()?;
    let text = |name| query.get(name).map(String::as_str).unwrap_or_default();
    let digest = call.param("digest").unwrap_or_default();
    let download = call.control().download(digest, text("expires"), text("signature")).await?;
    let (total, tag) = (download.total(), format!("\"{digest}\""));
    let (status, range) = match asked(call.headers(), call.is_head(), &tag, total) {
        Asked::Whole => (StatusCode::OK, 0..total),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Outside => return Err(Refusal::RangeOutside { total }),
    };
    let content_range = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
    let length = range.end - range.start;
    let body = if call.is_head() { Body::empty() } else { pieces(download, range).await? };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, ZSTD);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("a digest that was found is hex"));
    if status == StatusCode::PARTIAL_CONTENT {
        let value = HeaderValue::try_from(content_range).expect("digits are valid in a header");
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// The first piece is read before the head is sent, so that a store that does not answer is an error and not a torn body.
async fn pieces(download: Download, range: Range<u64>) -> Result<Body, ApiError> {
    let first = read(&download, &range).await?;
    let rest = range.start + first.len() as u64..range.end;
    let rest = stream::try_unfold((download, rest), |(download, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let piece = read(&download, &range).await?;
        let rest = range.start + piece.len() as u64..range.end;
        Ok::<_, ApiError>(Some((piece, (download, rest))))
    });
    Ok(Body::from_stream(stream::once(async move { Ok(first) }).chain(rest)))
}

async fn read(download: &Download, range: &Range<u64>) -> Result<Bytes, ApiError> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let end = range.end.min(range.start.saturating_add(PIECE_BYTES_MAX));
    let piece = download.read(range.start..end).await?;
    if piece.is_empty() || piece.len() as u64 > end - range.start {
        // Ending the stream with an error breaks the connection, which the client sees; a short body it might not.
        return Err(ApiError::new(contract::ErrorCode::Unavailable, "the store gave other bytes than were asked for"));
    }
    Ok(piece)
}
