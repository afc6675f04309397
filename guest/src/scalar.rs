//! Single values: durations, sizes, numbers and words, as Litestream writes them.

use alloc::format;
use alloc::string::{String, ToString};

use crate::plan::Value;
use crate::report::{quote, suggest};
use crate::schema::Kind;

/// What is wrong with a value: a code, what it is, and what to write.
pub(crate) type Problem = (&'static str, String, String);

/// Reads `text` as a value of `kind`. `plain` tells that it stood there without quotes.
pub(crate) fn parse(kind: Kind, text: &str, plain: bool) -> Result<Value, Problem> {
    match kind {
        Kind::Text | Kind::Texts | Kind::Block => Ok(Value::Text(text.into())),
        Kind::Secret => Ok(Value::Secret(text.into())),
        Kind::Word(words) => word(text, words),
        Kind::Flag => flag(text, plain),
        Kind::Number(least) => number(text, plain, least),
        Kind::Bytes => match number(text, plain, 0)? {
            Value::Number(bytes) => Ok(Value::Bytes(bytes)),
            other => Ok(other),
        },
        Kind::Duration(least) => duration(text, least),
        Kind::Size => size(text).map(Value::Bytes),
        Kind::Mode => mode(text),
    }
}

fn wrong(text: &str, expected: &str, help: impl Into<String>) -> Problem {
    (
        "wrong-type",
        format!("{} is not {expected}", quote(text)),
        help.into(),
    )
}

fn word(text: &str, words: &[&str]) -> Result<Value, Problem> {
    let lower = text.to_lowercase();
    if !words.contains(&lower.as_str()) {
        let help = match suggest(&lower, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", words.join(", ")),
        };
        return Err((
            "unknown-value",
            format!("{} is not known here", quote(text)),
            help,
        ));
    }
    Ok(Value::Text(if lower == "warning" {
        "warn".into()
    } else {
        lower
    }))
}

fn flag(text: &str, plain: bool) -> Result<Value, Problem> {
    let help = match text.to_lowercase().as_str() {
        "true" if plain && matches!(text, "true" | "True" | "TRUE") => {
            return Ok(Value::Flag(true));
        }
        "false" if plain && matches!(text, "false" | "False" | "FALSE") => {
            return Ok(Value::Flag(false));
        }
        "true" | "false" => "write it in lower case and without quotes",
        "yes" | "on" | "y" | "1" => "write `true`",
        "no" | "off" | "n" | "0" => "write `false`",
        _ => "write `true` or `false`",
    };
    Err(wrong(text, "`true` or `false`", help))
}

fn number(text: &str, plain: bool, least: i64) -> Result<Value, Problem> {
    let digits = text.replace('_', "");
    let parsed = match digits.parse::<i64>() {
        Ok(_) if !plain => return Err(wrong(text, "a number", "remove the quotes")),
        Ok(number) => number,
        Err(_) => {
            return Err(wrong(
                text,
                "a whole number",
                "write digits only, without a unit",
            ));
        }
    };
    if digits.len() > 1 && digits.starts_with('0') {
        let help = format!("write `{parsed}`; a leading zero would make it octal");
        return Err(wrong(text, "a decimal number", help));
    }
    if parsed < least {
        let message = format!("{} is too small", quote(text));
        return Err(("out-of-range", message, format!("write at least `{least}`")));
    }
    // Negative numbers turn things off where they are allowed at all.
    Ok(Value::Number(u64::try_from(parsed).unwrap_or(0)))
}

fn mode(text: &str) -> Result<Value, Problem> {
    let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
    match octal.map(|digits| u64::from_str_radix(digits, 8)) {
        Some(Ok(mode)) if mode <= 0o7777 => Ok(Value::Number(mode)),
        _ => Err(wrong(text, "an octal number", "write for example `0600`")),
    }
}

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn duration(text: &str, least: u64) -> Result<Value, Problem> {
    let nanos = nanoseconds(text)?;
    let Ok(nanos) = u64::try_from(nanos) else {
        let message = format!("{} is negative", quote(text));
        let off = if least == 0 {
            "write `0s` to turn it off"
        } else {
            "write a positive duration"
        };
        return Err(("out-of-range", message, off.into()));
    };
    // Rounded up, so that what is set does not become zero.
    let ms = nanos.div_ceil(1_000_000);
    if ms < least {
        let message = format!("{} is too short", quote(text));
        let help = match least {
            60_000 => "write at least `1m`".into(),
            1 => "write a duration greater than 0, such as `1s`".into(),
            _ => format!("write at least `{least}ms`"),
        };
        return Err(("out-of-range", message, help));
    }
    Ok(Value::Duration(ms))
}

fn nanoseconds(text: &str) -> Result<i128, Problem> {
    let malformed = || {
        wrong(
            text,
            "a duration",
            "write for example `300ms`, `10s` or `1h30m`",
        )
    };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!(
            "{} has no unit; Litestream takes it as nanoseconds",
            quote(text)
        );
        let help = format!("write `{}s` for seconds", crate::report::short(text));
        return Err(("wrong-type", message, help));
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let split = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(malformed)?;
        let (digits, tail) = rest.split_at(split);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(unknown_unit(text, digits, unit));
        };
        total += scaled(digits, *scale).ok_or_else(malformed)?;
        if total > i128::from(i64::MAX) {
            let message = format!("{} is too long", quote(text));
            return Err((
                "out-of-range",
                message,
                "a duration ends at about 292 years".into(),
            ));
        }
        rest = tail;
    }
    if text.len() <= 1 {
        return Err(malformed());
    }
    Ok(if negative { -total } else { total })
}

fn unknown_unit(text: &str, digits: &str, unit: &str) -> Problem {
    let hours = match unit {
        "d" | "day" | "days" => 24,
        "w" | "week" | "weeks" => 24 * 7,
        _ => 0,
    };
    match digits.parse::<u32>() {
        Ok(count) if hours > 0 => {
            let help = format!(
                "write `{}h`; the longest unit is the hour",
                u64::from(count) * hours
            );
            wrong(text, "a duration", help)
        }
        _ => wrong(
            text,
            "a duration",
            "its units are `h`, `m`, `s` and `ms`, as in `1h30m`",
        ),
    }
}

/// `digits` with at most one point, times `scale`, rounded down.
fn scaled(digits: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let mut total = if whole.is_empty() {
        0
    } else {
        whole.parse::<i128>().ok()? * scale
    };
    let mut place = scale;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        total += i128::from(digit - b'0') * place;
    }
    Some(total)
}

/// A size as people write it: `5MiB`, `5 MB`, `1.5G`, `5242880`.
pub(crate) fn size(text: &str) -> Result<u64, Problem> {
    let malformed = || {
        wrong(
            text,
            "a size",
            "write for example `5MiB`, `10MB` or `5242880`",
        )
    };
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(end);
    let unit = unit.trim().to_lowercase();
    let step = |prefix: &str| {
        "kmgtpe"
            .find(prefix)
            .and_then(|n| u32::try_from(n + 1).ok())
    };
    let scale: i128 = match unit.as_str() {
        "" | "b" => 1,
        other => {
            let prefix = other.get(..1).unwrap_or_default();
            let power = step(prefix).ok_or_else(malformed)?;
            match other.get(1..).unwrap_or_default() {
                "" | "b" => 1000_i128.pow(power),
                "i" | "ib" => 1024_i128.pow(power),
                _ => return Err(malformed()),
            }
        }
    };
    let bytes = scaled(digits, scale).ok_or_else(malformed)?;
    u64::try_from(bytes).map_err(|_| {
        (
            "out-of-range",
            format!("{} is too large", quote(text)),
            "".to_string(),
        )
    })
}
