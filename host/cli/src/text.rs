//! Lists of files, for people and for programs.

use std::fmt;
use std::io::{Write, stdout};

use anyhow::Result;
use lockkeeper::restore::{GenerationPlan, RestorePlan};
use lockkeeper::store::ReplicaFile;
use serde_json::{Value, json};

/// Columns as wide as their widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![heads.iter().map(ToString::to_string).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Files of a replica.
    pub(crate) fn of_files(files: &[ReplicaFile]) -> Self {
        let mut table = Self::new(&["level", "min_txid", "max_txid", "size", "created"]);
        for file in files {
            let range = file.name.range();
            table.row(vec![
                file.level.to_string(),
                range.min().to_string(),
                range.max().to_string(),
                file.size.to_string(),
                time(file.created_ms),
            ]);
        }
        table
    }

    /// What a restore would read.
    pub(crate) fn of_plan(plan: &RestorePlan) -> Self {
        let generation = match plan {
            RestorePlan::Ltx(plan) => return Self::of_files(plan.files()),
            RestorePlan::Generation(plan) => plan,
            _ => return Self::new(&[]),
        };
        let mut table = Self::new(&["file", "size", "created"]);
        for (key, size, created_ms) in generation_files(generation) {
            table.row(vec![key, size.to_string(), time(created_ms)]);
        }
        table
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells
                .map(|cell: &String| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line += &format!("{cell:<width$}  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A line on stdout.
///
/// # Errors
///
/// If nobody reads it any more, as with `| head`; `println!` would panic.
pub(crate) fn say(line: fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(stdout(), "{line}")?)
}

/// Prints a value as JSON, indented.
pub(crate) fn print_json<T>(value: &T) -> Result<()>
where
    T: ?Sized + serde::Serialize,
{
    writeln!(stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// A dash stands for what is not known.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// A size for people, as Litestream prints it: `999 B`, `4.1 kB`, `32 kB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if size < 1000.0 {
            break;
        }
        (size, unit) = (size / 1000.0, *next);
    }
    if size < 10.0 {
        format!("{size:.1} {unit}")
    } else {
        format!("{size:.0} {unit}")
    }
}

/// A file as the official command line prints it.
pub(crate) fn file_json(file: &ReplicaFile) -> Value {
    let range = file.name.range();
    json!({
        "level": file.level.get(),
        "min_txid": range.min().to_string(),
        "max_txid": range.max().to_string(),
        "size": file.size,
        "timestamp": time(file.created_ms),
    })
}

/// The files that a restore would read.
pub(crate) fn plan_json(plan: &RestorePlan) -> Value {
    match plan {
        RestorePlan::Ltx(plan) => plan.files().iter().map(file_json).collect(),
        RestorePlan::Generation(plan) => generation_files(plan)
            .map(|(key, size, created_ms)| {
                json!({"file": key, "size": size, "timestamp": time(created_ms)})
            })
            .collect(),
        _ => Value::Null,
    }
}

/// Keys, sizes and times, in the order in which they are read.
fn generation_files(plan: &GenerationPlan) -> impl Iterator<Item = (String, u64, i64)> {
    let snapshot = plan.snapshot();
    let segments = plan
        .segments()
        .iter()
        .map(|segment| (segment.key(), segment.size, segment.created_ms));
    std::iter::once((snapshot.key(), snapshot.size, snapshot.created_ms)).chain(segments)
}

/// In UTC, to the millisecond.
pub(crate) fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits_and_the_units_of_litestream() {
        for (size, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (4120, "4.1 kB"),
            (32_992, "33 kB"),
            (4_120_032, "4.1 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }
}
