//! What is asked of a store, counted: requests are what it bills.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

/// How many requests were sent to a store, by what they cost; those that failed and were tried
/// again count each time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Objects and parts of objects written.
    pub put: u64,
    /// Objects and ranges of objects read.
    pub get: u64,
    /// Pages of listings.
    pub list: u64,
    /// Questions about one object.
    pub head: u64,
    /// Deletions, each of one object or of many.
    pub delete: u64,
    /// Anything else, such as tokens.
    pub other: u64,
}

impl RequestCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        [
            self.put,
            self.get,
            self.list,
            self.head,
            self.delete,
            self.other,
        ]
        .iter()
        .sum()
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) enum Class {
    Put,
    Get,
    List,
    Head,
    Delete,
    Other,
}

impl Class {
    /// The class of a request to any of the three kinds of store.
    pub(in crate::store) fn of(method: &Method, query: &str) -> Self {
        let asks = |wanted: &str| query.split('&').any(|pair| pair == wanted);
        match *method {
            Method::GET if asks("list-type=2") || asks("comp=list") => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            Method::POST if asks("delete") || asks("delete=") || asks("comp=batch") => Self::Delete,
            Method::POST if query.is_empty() => Self::Other,
            Method::POST => Self::Put,
            _ => Self::Other,
        }
    }
}

/// Counts by class.
#[derive(Debug, Default)]
pub(in crate::store) struct Counters([AtomicU64; 6]);

impl Counters {
    pub(in crate::store) fn add(&self, class: Class) {
        if let Some(count) = self.0.get(class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(in crate::store) fn counts(&self) -> RequestCounts {
        let [put, get, list, head, delete, other] =
            self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        RequestCounts {
            put,
            get,
            list,
            head,
            delete,
            other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_as_what_it_costs() {
        let counters = Counters::default();
        for (method, query) in [
            (Method::PUT, ""),
            (Method::PUT, "partNumber=1&uploadId=x"),
            (Method::POST, "uploads="),
            (Method::POST, "uploadId=x"),
            (Method::GET, ""),
            (Method::GET, "list-type=2&prefix=a"),
            (Method::GET, "restype=container&comp=list&prefix=a"),
            (Method::HEAD, ""),
            (Method::DELETE, ""),
            (Method::POST, "delete"),
            (Method::POST, "restype=container&comp=batch"),
            (Method::POST, ""),
        ] {
            counters.add(Class::of(&method, query));
        }
        let expected = RequestCounts {
            put: 4,
            get: 1,
            list: 2,
            head: 1,
            delete: 3,
            other: 1,
        };
        assert_eq!(counters.counts(), expected);
        assert_eq!(expected.total(), 12);
    }
}
