/// Merges LTX files into one: the newest file wins per page, pages past the newest commit go.
#[derive(Debug)]
pub struct Merge {}
