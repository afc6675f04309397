//! The reference of every command in `docs/cli.md`: it is made from the commands themselves.

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

const BEGIN: &str = "<!-- commands: begin -->\n";
const END: &str = "<!-- commands: end -->";

fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from("\n### Every command\n");
    text += &flags(root.get_arguments().collect());
    commands(&root, "", &mut text);
    text
}

fn commands(parent: &Command, before: &str, text: &mut String) {
    for command in parent.get_subcommands() {
        if command.get_name() == "help" {
            continue;
        }
        let name = format!("{before}{}", command.get_name());
        if command.has_subcommands() {
            commands(command, &format!("{name} "), text);
            continue;
        }
        let about = command.get_about().expect("a command says what it does");
        let positionals = command.get_positionals().map(operand);
        let usage: Vec<String> = std::iter::once(name).chain(positionals).collect();
        *text += &format!("\n### `{}`\n\n{about}.\n", usage.join(" "));
        let own = command
            .get_arguments()
            .filter(|flag| !flag.is_global_set() && !flag.is_positional());
        *text += &flags(own.collect());
    }
}

fn operand(arg: &Arg) -> String {
    let name = arg.get_id().as_str().to_uppercase();
    if arg.is_required_set() {
        name
    } else {
        format!("[{name}]")
    }
}

fn flags(flags: Vec<&Arg>) -> String {
    let rows = flags.into_iter().filter_map(|flag| {
        let short = flag.get_short().map(|name| format!("-{name}"));
        let long = flag.get_long().map(|name| format!("-{name}"));
        let aliases = flag.get_visible_aliases().unwrap_or_default();
        let aliases = aliases.into_iter().map(|name| format!("-{name}"));
        let names: Vec<String> = short.into_iter().chain(long).chain(aliases).collect();
        let name = names.join(", ");
        let help = flag.get_help()?.to_string();
        if matches!(flag.get_long(), Some("help" | "version")) {
            return None;
        }
        let value = flag
            .get_value_names()
            .filter(|_| flag.get_action().takes_values());
        let value = value.map_or(String::new(), |names| format!(" {}", names.join(" ")));
        let default = match flag.get_default_values() {
            [default] => format!(" (default: {})", default.to_string_lossy()),
            _ => String::new(),
        };
        let default = if flag.get_action().takes_values() {
            default
        } else {
            String::new()
        };
        Some(format!("| `{name}{value}` | {help}{default} |\n"))
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        rows
    } else {
        format!("\n| Flag | Meaning |\n|---|---|\n{rows}")
    }
}

#[test]
fn the_documentation_has_every_command_and_every_flag() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let text = std::fs::read_to_string(file).expect("the file is there");
    let (before, rest) = text.split_once(BEGIN).expect("the reference begins");
    let (reference, after) = rest.split_once(END).expect("the reference ends");
    let expected = markdown();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        let updated = format!("{before}{BEGIN}{expected}\n{END}{after}");
        std::fs::write(file, updated).expect("the file can be written");
    } else {
        assert_eq!(
            reference.trim(),
            expected.trim(),
            "run `UPDATE_DOCS=1 cargo test`"
        );
    }
}
