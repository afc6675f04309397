//! What a store refuses, in words that name the setting to change.

use std::borrow::Cow;

use lockkeeper_core::text::printable;
use object_store::path::Path;

use crate::Error;

/// The longest text of a server that is shown, in characters.
const TEXT_CHARS_MAX: usize = 600;

/// What went wrong with `what` at `path`. Nothing of it is final but a conflict: permissions and
/// buckets can be made good while replication runs.
pub(super) fn failed(what: &str, path: &Path, source: object_store::Error) -> Error {
    use object_store::Error::{AlreadyExists, Precondition};
    let text = source.to_string();
    let said = Said::read(&text);
    if matches!(source, AlreadyExists { .. } | Precondition { .. }) {
        return exists(path).with_source(said.short(&text));
    }
    let advice = advice(what, said, &source, &text);
    let message = match advice {
        Some(advice) => format!("cannot {what} {path}: {advice}"),
        None => format!("cannot {what} {path}"),
    };
    Error::unavailable(message).with_source(said.short(&text))
}

/// What to do about an error, where that is known.
fn advice(
    what: &str,
    said: Said<'_>,
    source: &object_store::Error,
    text: &str,
) -> Option<Cow<'static, str>> {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let known = match (said.code, source) {
        (Some(code), _) if is_bucket_code(code) => {
            "the bucket or container does not exist: create it, or correct `bucket`"
        }
        (Some("RequestTimeTooSkewed"), _) => "the clock of this machine is wrong: set it",
        (Some("InvalidAccessKeyId"), _) => {
            "the store does not know the key: correct `access-key-id`"
        }
        (Some("SignatureDoesNotMatch"), _) => {
            "the key does not fit: correct `secret-access-key` (and `region` or `endpoint`)"
        }
        (Some("ExpiredToken" | "AuthenticationFailed" | "AuthorizationFailure"), _)
        | (_, Unauthenticated { .. }) => {
            "the store does not accept the credentials: correct `account-key`, `sas-token`, \
             `secret-access-key` or `service-account`"
        }
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) => {
            return Some(wrong_region(said));
        }
        (_, PermissionDenied { .. }) => return Some(not_allowed(what)),
        // What a listing is refused for comes without a kind.
        _ if text.contains("403 Forbidden") => return Some(not_allowed(what)),
        (None, NotFound { .. }) => "there is no such bucket, container or object: check `bucket`",
        _ if text.contains("invalid peer certificate") => {
            "the machine does not trust the certificate of the server: install its authority, or \
             set `skip-verify: true`"
        }
        _ if text.contains("client error (Connect)") => {
            "the server cannot be reached: check `endpoint` and the network"
        }
        _ if text.contains("Received redirect") => return Some(wrong_region(said)),
        _ => return None,
    };
    Some(known.into())
}

/// Whether a store says that it cannot write under a condition.
pub(super) fn has_no_conditions(error: &object_store::Error) -> bool {
    use object_store::Error::{NotImplemented, NotSupported};
    matches!(error, NotImplemented { .. } | NotSupported { .. })
        || Said::read(&error.to_string()).code == Some("NotImplemented")
}

/// Whether it is the bucket or container that is not there, and not an object in it.
pub(super) fn is_bucket_missing(error: &object_store::Error) -> bool {
    Said::read(&error.to_string())
        .code
        .is_some_and(is_bucket_code)
}

pub(super) fn exists(path: &Path) -> Error {
    Error::conflict(format!("{path} is not what was expected there"))
}

fn is_bucket_code(code: &str) -> bool {
    matches!(
        code,
        "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" | "InvalidBucketName"
    )
}

fn not_allowed(what: &str) -> Cow<'static, str> {
    let permission = permission(what);
    format!("the credentials do not allow it: allow them to {permission} here").into()
}

fn wrong_region(said: Said<'_>) -> Cow<'static, str> {
    match said.region {
        Some(region) => {
            let region = printable(region, TEXT_CHARS_MAX);
            format!("the bucket is in another region: set `region: {region}`").into()
        }
        None => "the bucket is in another region: set `region`".into(),
    }
}

/// What the three kinds of store call it.
fn permission(what: &str) -> &'static str {
    match what {
        "write" => "create objects (s3:PutObject, storage.objects.create, SAS `cw`)",
        "list" => "list (s3:ListBucket, storage.objects.list, SAS `l`)",
        "delete below" => "delete (s3:DeleteObject, storage.objects.delete, SAS `d`)",
        _ => "read (s3:GetObject and s3:ListBucket, storage.objects.get, SAS `r`)",
    }
}

/// What a server said of an error; all three kinds of store say it in XML of the same form.
#[derive(Clone, Copy)]
struct Said<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(text: &'a str) -> Self {
        Self {
            code: element(text, "Code"),
            message: element(text, "Message"),
            region: element(text, "Region"),
        }
    }

    /// The words of the server without the document around them; else all of `text`.
    fn short(self, text: &str) -> String {
        match (self.code, self.message) {
            (Some(code), Some(message)) => printable(&format!("{code}: {message}"), TEXT_CHARS_MAX),
            (Some(code), None) => printable(code, TEXT_CHARS_MAX),
            _ => printable(text, TEXT_CHARS_MAX),
        }
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn answer(text: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("Error performing GET http://x/ - Server returned {text}").into()
    }

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: answer(text),
        }
    }

    fn denied(text: &str) -> object_store::Error {
        object_store::Error::PermissionDenied {
            path: "a/b".into(),
            source: answer(text),
        }
    }

    #[track_caller]
    fn check(what: &str, error: object_store::Error, expected: &str) {
        let error = failed(what, &Path::from("a/b"), error);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("a/b"), "{text}");
    }

    #[test]
    fn what_is_refused_names_the_permission_to_grant() {
        check("write", denied("403"), "s3:PutObject");
        check("list", denied("403"), "s3:ListBucket");
        check("delete below", denied("403"), "s3:DeleteObject");
        check("read", denied("403"), "s3:GetObject");
        let listing = generic("403 Forbidden: <Code>AccessDenied</Code>");
        check("list", listing, "s3:ListBucket");
    }

    #[test]
    fn what_is_wrong_names_the_setting_to_change() {
        let unknown = |code: &str| denied(&format!("<Code>{code}</Code>"));
        let secret = "`secret-access-key`";
        check("read", unknown("SignatureDoesNotMatch"), secret);
        check("read", unknown("InvalidAccessKeyId"), "`access-key-id`");
        check("read", unknown("RequestTimeTooSkewed"), "clock");
        check("read", unknown("AuthorizationFailure"), "`account-key`");
        let elsewhere = "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>";
        check("list", generic(elsewhere), "`region: eu-west-1`");
        let untrusted = "client error (Connect): invalid peer certificate: UnknownIssuer";
        check("list", generic(untrusted), "`skip-verify: true`");
        check("list", generic("client error (Connect): x"), "`endpoint`");
        for code in ["NoSuchBucket", "ContainerNotFound"] {
            let absent = object_store::Error::NotFound {
                path: "a/b".into(),
                source: answer(&format!("<Code>{code}</Code>")),
            };
            assert!(is_bucket_missing(&absent));
            check("list", absent, "`bucket`");
        }
        let unauthenticated = object_store::Error::Unauthenticated {
            path: "a/b".into(),
            source: answer("401"),
        };
        check("list", unauthenticated, "`service-account`");
    }

    #[test]
    fn only_the_words_of_a_server_are_shown() {
        let long = "x".repeat(100_000);
        let text = format!("<Code>Odd\u{1b}[2J</Code><Message>{long}</Message><Secret>s</Secret>");
        let text = failed("read", &Path::from("a"), generic(&text)).to_string();
        assert!(text.len() < 1000 && !text.contains('\u{1b}'), "{text}");
    }
}
