//! Bytes of archives behind signed, expiring URLs. The URL is the whole authorisation: it names a digest, and nothing else
//! can be read with it.

use crate::control::Control;
use crate::execute::{now, store_error};
use bytes::Bytes;
use contract::{ApiError, ErrorCode};
use domain::Digest;
use std::ops::Range;

/// The most bytes of one [`Download::read`]: bounds the memory of a transfer.
pub const DOWNLOAD_READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An archive that may be read.
pub struct Download {
    control: Control,
    digest: Digest,
    total: u64,
}

impl Control {
    pub(crate) fn download_url(&self, base_url: &str, digest: &str) -> String {
        let expires = now().as_second().saturating_add(i64::from(self.settings().download_url_ttl_s));
        let signature = trust::sign_download(self.download_key(), digest, expires);
        format!("{base_url}/api/v1/downloads/{digest}?expires={expires}&signature={signature}")
    }

    /// `expires` and `signature` as they stand in the URL.
    pub async fn download(&self, digest: &str, expires: &str, signature: &str) -> Result<Download, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidDownloadUrl, "The download URL is expired or was changed");
        let digest: Digest = digest.parse().map_err(|_| ApiError::not_found("Bundle archive"))?;
        let expires: i64 = expires.parse().map_err(|_| refused())?;
        if !trust::verify_download(self.download_key(), digest.as_str(), expires, signature, now().as_second()) {
            return Err(refused());
        }
        let total = self.blob_len(digest.as_str()).await.map_err(store_error)?;
        let total = total.ok_or_else(|| ApiError::not_found("Bundle archive"))?;
        Ok(Download { control: self.clone(), digest, total })
    }
}

impl Download {
    pub fn total(&self) -> u64 {
        self.total
    }

    /// At most [`DOWNLOAD_READ_BYTES_MAX`] bytes of a range within the archive; what lies outside is left out.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, ApiError> {
        let end = range.end.min(self.total).min(range.start.saturating_add(DOWNLOAD_READ_BYTES_MAX));
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let bytes = self.control.read_blob(self.digest.as_str(), Some(range.start..end)).await;
        bytes.map_err(store_error)?.ok_or_else(|| ApiError::not_found("Bundle archive"))
    }
}
