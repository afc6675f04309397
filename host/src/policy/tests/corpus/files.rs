//! Files that are no policy component, with what the refusal says.

use super::super::super::sandbox::Sandbox;
use super::Guest;

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn importing(name: &str) -> Vec<u8> {
    wat(&format!("(component (import \"{name}\" (instance)))"))
}

/// A file, with a part of what the refusal says.
type File = (&'static str, Vec<u8>, &'static str);

pub(super) fn all() -> Vec<File> {
    let mut all = not_components();
    all.extend(broken());
    all.extend(other_worlds());
    all
}

fn not_components() -> Vec<File> {
    let engine = &Sandbox::get().unwrap().engine;
    let compiled = engine.precompile_component(&Guest::default().build());
    let none = "it is not WebAssembly";
    vec![
        ("nothing", Vec::new(), none),
        ("text", b"plan-sync: 1s".to_vec(), none),
        ("an executable", b"\x7fELF\x02\x01".to_vec(), none),
        ("zeroes", vec![0; 4096], none),
        ("the beginning", b"\0asm".to_vec(), none),
        ("a core module", wat("(module)"), "it is a core module"),
        (
            "compiled code",
            compiled.unwrap(),
            "it is compiled for a processor",
        ),
    ]
}

fn broken() -> Vec<File> {
    let whole = Guest::default().build();
    let mut damaged = whole.clone();
    damaged[100..140].fill(0xff);
    let (half, short) = (whole.len() / 2, whole.len() - 1);
    vec![
        ("half of one", whole[..half].to_vec(), "cannot be used"),
        ("one byte short", whole[..short].to_vec(), "cannot be used"),
        ("damaged", damaged, "cannot be used"),
    ]
}

fn other_worlds() -> Vec<File> {
    let mut all = vec![
        (
            "nothing in it",
            wat("(component)"),
            "it does not export `metadata`",
        ),
        (
            "a function of another type",
            wat("(component (import \"log\" (func (param \"m\" string))))"),
            "it does not export",
        ),
        (
            "a version of the future",
            importing("lockkeeper:policy/types@9.0.0"),
            "this host runs lockkeeper:policy 0.1.0 and 0.2.0",
        ),
        (
            "a part of the first version",
            importing("lockkeeper:policy/types@0.1.0"),
            "lockkeeper:policy@0.1.0 must",
        ),
    ];
    let imports = [
        "wasi:filesystem/types@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/ip-name-lookup@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:keyvalue/store@0.2.0",
        "wasi:io/streams@0.3.0",
        "acme:tools/shell@1.0.0",
    ];
    all.extend(imports.map(|name| (name, importing(name), name)));
    all
}
