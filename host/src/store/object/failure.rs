//! What a store refuses, in words that name the setting to change.

use lockkeeper_core::text::printable;
use object_store::path::Path;

use crate::Error;

/// The longest text of a server that is shown, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What went wrong with `what` at `path`. Nothing of it is final but a conflict: permissions and
/// buckets can be made good while replication runs.
pub(super) fn failed(what: &str, path: &Path, source: object_store::Error) -> Error {
    use object_store::Error::{
        AlreadyExists, NotFound, PermissionDenied, Precondition, Unauthenticated,
    };
    let text = source.to_string();
    let said = Said::read(&text);
    if matches!(source, AlreadyExists { .. } | Precondition { .. }) {
        return exists(path).with_source(said.short(&text));
    }
    let advice = match (said.code, &source) {
        (code, _) if code.is_some_and(is_bucket_code) => Some(
            "the bucket or container does not exist: create it, or correct `bucket`".to_owned(),
        ),
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) => Some(wrong_region(said)),
        (Some("RequestTimeTooSkewed"), _) => {
            Some("the clock of this machine is wrong: set it".to_owned())
        }
        (Some("InvalidAccessKeyId"), _) => {
            Some("the store does not know the key: correct `access-key-id`".to_owned())
        }
        (Some("SignatureDoesNotMatch"), _) => Some(
            "the key does not fit: correct `secret-access-key` (and `region` or `endpoint`)"
                .to_owned(),
        ),
        (Some("ExpiredToken" | "AuthenticationFailed" | "AuthorizationFailure"), _)
        | (_, Unauthenticated { .. }) => Some(
            "the store does not accept the credentials: correct `account-key`, `sas-token`, \
             `secret-access-key` or `service-account`"
                .to_owned(),
        ),
        (_, PermissionDenied { .. }) => Some(not_allowed(what)),
        // What a listing is refused for comes without a kind.
        _ if text.contains("403 Forbidden") => Some(not_allowed(what)),
        (None, NotFound { .. }) => {
            Some("there is no such bucket, container or object: check `bucket`".to_owned())
        }
        _ if text.contains("Received redirect") => Some(wrong_region(said)),
        _ => None,
    };
    let message = match advice {
        Some(advice) => format!("cannot {what} {path}: {advice}"),
        None => format!("cannot {what} {path}"),
    };
    Error::unavailable(message).with_source(said.short(&text))
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

fn not_allowed(what: &str) -> String {
    let permission = permission(what);
    format!("the credentials do not allow it: allow them to {permission} here")
}

fn wrong_region(said: Said<'_>) -> String {
    match said.region {
        Some(region) => format!(
            "the bucket is in another region: set `region: {}`",
            printable(region, TEXT_CHARS_MAX)
        ),
        None => "the bucket is in another region: set `region`".to_owned(),
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

    #[test]
    fn what_is_wrong_names_the_setting_to_change() {
        use object_store::Error::{Generic, NotFound, PermissionDenied, Unauthenticated};
        let path = Path::from("a/b");
        let generic = |text: &str| Generic {
            store: "S3",
            source: answer(text),
        };
        let denied = |text: &str| PermissionDenied {
            path: "a/b".into(),
            source: answer(text),
        };
        let absent = |text: &str| NotFound {
            path: "a/b".into(),
            source: answer(text),
        };
        for (what, error, expected) in [
            ("write", denied("403"), "s3:PutObject"),
            ("list", denied("403"), "s3:ListBucket"),
            (
                "list",
                generic("403 Forbidden: <Code>AccessDenied</Code>"),
                "s3:ListBucket",
            ),
            (
                "list",
                generic("<Code>AuthorizationFailure</Code>"),
                "`account-key`",
            ),
            ("delete below", denied("403"), "s3:DeleteObject"),
            ("read", denied("403"), "s3:GetObject"),
            (
                "read",
                denied("<Code>SignatureDoesNotMatch</Code>"),
                "`secret-access-key`",
            ),
            (
                "read",
                denied("<Code>InvalidAccessKeyId</Code>"),
                "`access-key-id`",
            ),
            ("read", denied("<Code>RequestTimeTooSkewed</Code>"), "clock"),
            (
                "list",
                generic("<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"),
                "`region: eu-west-1`",
            ),
            ("list", absent("<Code>NoSuchBucket</Code>"), "`bucket`"),
            ("list", absent("<Code>ContainerNotFound</Code>"), "`bucket`"),
            (
                "list",
                Unauthenticated {
                    path: "a/b".into(),
                    source: answer("401"),
                },
                "`service-account`",
            ),
        ] {
            let error = failed(what, &path, error);
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains("a/b"), "{text}");
        }
    }

    #[test]
    fn only_the_words_of_a_server_are_shown() {
        let long = "x".repeat(100_000);
        let text = format!("<Code>Odd\u{1b}[2J</Code><Message>{long}</Message><Secret>s</Secret>");
        let error = object_store::Error::Generic {
            store: "S3",
            source: answer(&text),
        };
        let text = failed("read", &Path::from("a"), error).to_string();
        assert!(text.len() < 500 && !text.contains('\u{1b}'), "{text}");
    }
}
