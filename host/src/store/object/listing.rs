//! Listings, page by page where a store gives pages.

use std::borrow::Cow;
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::Path;
use object_store::{GetOptions, ListResult, ObjectMeta};

use super::ObjectStoreAdapter;
use super::failure::{failed, is_bucket_missing};
use crate::store::key;
use crate::store::{ObjectInfo, Times};
use crate::{Error, Result};

/// Objects of one folder, for the memory's sake: years of single transactions that nobody merged.
const OBJECTS_MAX: usize = 1_000_000;
/// Requests for metadata at a time.
const HEADS_MAX: usize = 16;

impl ObjectStoreAdapter {
    /// The objects of one folder, by their keys.
    pub(super) async fn list_folder(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        let listing = self.list_all_pages(prefix).await?;
        self.described(listing.objects, times).await
    }

    /// Everything below the root if it fits into one page.
    pub(super) async fn list_small_tree(&self, times: Times) -> Result<Option<Vec<ObjectInfo>>> {
        let page = self.page(&self.root, false, None).await?;
        if page.page_token.is_some() {
            return Ok(None);
        }
        self.described(page.result.objects, times).await.map(Some)
    }

    /// The names of the folders in a folder.
    pub(super) async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        let listing = self.list_all_pages(prefix).await?;
        let names = listing.common_prefixes.iter();
        let mut names: Vec<String> = names
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    async fn list_all_pages(&self, prefix: &str) -> Result<ListResult> {
        key::parse_folder(prefix)?;
        let path = self.path(prefix)?;
        let mut all = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: http::Extensions::default(),
        };
        let mut token = None;
        loop {
            let mut page = self.page(&path, true, token).await?;
            all.objects.append(&mut page.result.objects);
            all.common_prefixes.append(&mut page.result.common_prefixes);
            if all.objects.len().max(all.common_prefixes.len()) > OBJECTS_MAX {
                return Err(Error::unavailable(format!(
                    "{path} holds more than {OBJECTS_MAX} objects"
                )));
            }
            token = page.page_token;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// One page of what is below `folder`, in the folder itself only if `is_flat`.
    async fn page(
        &self,
        folder: &Path,
        is_flat: bool,
        token: Option<String>,
    ) -> Result<PaginatedListResult> {
        let page = match &self.bucket.pages {
            Some(pages) => {
                let prefix = self.raw_prefix(folder);
                let options = PaginatedListOptions {
                    delimiter: is_flat.then_some(Cow::Borrowed("/")),
                    page_token: token,
                    ..PaginatedListOptions::default()
                };
                pages.list_paginated(prefix.as_deref(), options).await
            }
            None => self.whole(folder, is_flat).await,
        };
        page.map_err(|e| failed("list", folder, e))
    }

    /// Everything at once, from a store that gives no pages.
    async fn whole(
        &self,
        folder: &Path,
        is_flat: bool,
    ) -> object_store::Result<PaginatedListResult> {
        let result = if is_flat {
            self.store().list_with_delimiter(Some(folder)).await?
        } else {
            ListResult {
                common_prefixes: Vec::new(),
                objects: self.store().list(Some(folder)).try_collect().await?,
                extensions: http::Extensions::default(),
            }
        };
        Ok(PaginatedListResult {
            result,
            page_token: None,
        })
    }

    /// How all keys in a folder begin.
    fn raw_prefix(&self, folder: &Path) -> Option<String> {
        let slash = if self.bucket.begins_with_slash {
            "/"
        } else {
            ""
        };
        let prefix = match folder.as_ref() {
            "" => slash.to_owned(),
            folder => format!("{slash}{folder}/"),
        };
        (!prefix.is_empty()).then_some(prefix)
    }

    /// What is told of objects, by their keys.
    async fn described(&self, objects: Vec<ObjectMeta>, times: Times) -> Result<Vec<ObjectInfo>> {
        let mut found: Vec<ObjectInfo> = match times {
            Times::Listed => objects
                .into_iter()
                .filter_map(|meta| self.listed(meta))
                .collect(),
            Times::Sealed => {
                let found = objects.into_iter().map(|meta| self.sealed(meta));
                let found = stream::iter(found).buffered(HEADS_MAX);
                found
                    .try_filter_map(async |found| Ok(found))
                    .try_collect()
                    .await?
            }
        };
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn listed(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        // Some consoles make an object of the name of a folder, which has no key in it.
        let key = self.key(&meta.location).filter(|key| !key.is_empty())?;
        Some(ObjectInfo {
            key,
            size: meta.size,
            created: jiff::Timestamp::try_from(SystemTime::from(meta.last_modified))
                // A file whose time is not plausible must not seem old: old ones are deleted.
                .unwrap_or(jiff::Timestamp::MAX),
        })
    }

    /// The same with the time in the metadata; that of the listing if there is none.
    async fn sealed(&self, meta: ObjectMeta) -> Result<Option<ObjectInfo>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let location = meta.location.clone();
        let found = match self.store().get_opts(&location, options).await {
            Ok(found) => found,
            // Deleted since it was listed.
            Err(error)
                if matches!(error, object_store::Error::NotFound { .. })
                    && !is_bucket_missing(&error) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(failed("read the metadata of", &location, e)),
        };
        let stored = found.attributes.get(&self.timestamp());
        let stored = stored.and_then(|value| value.as_ref().parse::<jiff::Timestamp>().ok());
        let mut info = self.listed(meta);
        if let (Some(info), Some(time)) = (&mut info, stored) {
            info.created = time;
        }
        Ok(info)
    }
}
