//! What a request carries that must not come back: servers, and what stands between, like to quote
//! in a refusal what they were asked.

use std::borrow::Cow;

use bytes::Bytes;
use http::Request;
use zeroize::Zeroizing;

/// Headers with a credential or a key in them.
const HEADERS: [&str; 4] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
    "proxy-authorization",
];
/// The signature in the query of a signed URL.
const SIGNATURES: [&str; 3] = ["sig", "X-Amz-Signature", "X-Goog-Signature"];
/// Shorter values are words that a text may hold by chance.
const LEN_MIN: usize = 4;

/// The secrets of one request.
pub(super) struct Carried(Vec<Zeroizing<String>>);

impl Carried {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let mut secrets = Vec::new();
        for value in HEADERS
            .iter()
            .flat_map(|name| request.headers().get_all(*name))
        {
            let Ok(value) = value.to_str() else { continue };
            secrets.push(value.to_owned());
            // A scheme and its credentials may be quoted one without the other.
            for part in value.split([' ', ',', '=']) {
                secrets.push(part.to_owned());
                // The name of the key is before its date and its region.
                secrets.extend(part.split_once('/').map(|(key, _)| key.to_owned()));
            }
        }
        let query = request.uri().query().unwrap_or_default();
        for pair in query.split('&') {
            if let Some((name, value)) = pair.split_once('=')
                && SIGNATURES.contains(&name)
            {
                secrets.push(value.to_owned());
                let decoded = form_urlencoded::parse(pair.as_bytes()).next();
                secrets.extend(decoded.map(|(_, value)| value.into_owned()));
            }
        }
        secrets.retain(|secret| secret.len() >= LEN_MIN && !is_word(secret));
        // The longest first: others are parts of it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets.into_iter().map(Zeroizing::new).collect())
    }

    /// The text of a refusal without them.
    pub(super) fn remove_from(&self, text: Bytes) -> Bytes {
        let Cow::Owned(cut) = self.cut(&String::from_utf8_lossy(&text)) else {
            return text;
        };
        cut.into()
    }

    fn cut<'text>(&self, text: &'text str) -> Cow<'text, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), "REDACTED"));
            }
        }
        text
    }
}

/// What every request of its kind says, and an answer may have to name.
fn is_word(text: &str) -> bool {
    let words = [
        "Bearer",
        "Basic",
        "SharedKey",
        "Credential",
        "SignedHeaders",
        "Signature",
    ];
    words.contains(&text) || text.starts_with("AWS4-HMAC") || text.starts_with("host;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, url: &str, text: &str, expected: &str) {
        let request = Request::builder().uri(url).header(name, value).body(());
        let carried = Carried::of(&request.unwrap());
        let cut = carried.remove_from(Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(cut, expected);
    }

    #[test]
    fn what_a_request_carries_is_cut_out_of_a_refusal() {
        check(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=KEYID/20260131/r/s3/aws4_request, SignedHeaders=host;x, \
             Signature=abcdef",
            "http://s/b",
            "no KEYID/20260131/r/s3/aws4_request or KEYID with abcdef by AWS4-HMAC-SHA256",
            "no REDACTED or REDACTED with REDACTED by AWS4-HMAC-SHA256",
        );
        check(
            "authorization",
            "Bearer token",
            "http://s/b",
            "Bearer token; token; Bearer",
            "REDACTED; REDACTED; Bearer",
        );
        check(
            "x-other",
            "harmless",
            "http://s/b?restype=container&sig=a%2Bb%3Dcd&comp=list",
            "GET /b?restype=container&sig=a%2Bb%3Dcd harmless a+b=cd",
            "GET /b?restype=container&sig=REDACTED harmless REDACTED",
        );
    }

    #[test]
    fn a_refusal_without_them_stays_as_it_is() {
        let url = "http://s/b?sig=abcd";
        let bytes = "no UTF-8: \u{fffd}";
        check("authorization", "Bearer token", url, bytes, bytes);
        let request = Request::builder().uri(url).body(()).unwrap();
        let raw = Bytes::from_static(&[0xff, 0xfe]);
        assert_eq!(Carried::of(&request).remove_from(raw.clone()), raw);
    }
}
