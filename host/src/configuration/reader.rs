//! Settings by name, and a record of which were used.

use std::time::Duration;

use crate::policy::{Setting, Value};
use crate::secret::Secret;
use crate::{Error, Result};

/// Takes settings out of a plan one by one. A component is not trusted to name only what exists:
/// what nobody asked for is refused at the end.
pub(super) struct SettingsReader {
    /// Whose settings these are, for messages.
    owner: String,
    settings: Vec<Setting>,
}

impl SettingsReader {
    pub(super) fn new(owner: impl Into<String>, settings: Vec<Setting>) -> Self {
        Self {
            owner: owner.into(),
            settings,
        }
    }

    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>> {
        self.take(name, "a duration", |value| match value {
            Value::Duration(ms) => Some(Duration::from_millis(ms)),
            _ => None,
        })
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>> {
        self.take(name, "a number", |value| match value {
            Value::Number(number) | Value::Bytes(number) => Some(number),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.take(name, "true or false", |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name, "text", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn secret(&mut self, name: &str) -> Result<Option<Secret>> {
        self.take(name, "a secret", |value| match value {
            Value::Secret(secret) => Some(secret),
            _ => None,
        })
    }

    /// A text that is not empty.
    pub(super) fn words(&mut self, name: &str) -> Result<Option<String>> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<()> {
        let names: Vec<&str> = self
            .settings
            .iter()
            .map(|setting| setting.name.as_str())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the policy component gives {} settings that this host does not know: {}; use a \
             component that was made for this version",
            self.owner,
            names.join(", ").escape_debug()
        )))
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(at) = self
            .settings
            .iter()
            .position(|setting| setting.name == name)
        else {
            return Ok(None);
        };
        let Setting { value, .. } = self.settings.swap_remove(at);
        read(value).map(Some).ok_or_else(|| {
            Error::invalid(format!(
                "the policy component gives {} a setting `{name}` that is not {expected}; use a \
                 component that was made for this version",
                self.owner
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: Value) -> Setting {
        Setting {
            name: name.into(),
            value,
        }
    }

    #[test]
    fn a_setting_of_another_type_or_name_is_refused_and_names_its_owner() {
        let mut reader =
            SettingsReader::new("database app.db", vec![setting("watch", Value::Number(1))]);
        let error = reader.flag("watch").unwrap_err().to_string();
        assert!(
            error.contains("app.db") && error.contains("`watch`"),
            "{error}"
        );
        let reader = SettingsReader::new("x", vec![setting("nonsense", Value::Flag(true))]);
        let error = reader.finish().unwrap_err().to_string();
        assert!(error.contains("nonsense"), "{error}");
    }

    #[test]
    fn what_is_not_given_is_none_and_what_is_given_is_taken_once() {
        let mut reader = SettingsReader::new("x", vec![setting("a", Value::Duration(1500))]);
        assert_eq!(
            reader.duration("a").unwrap(),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(reader.duration("a").unwrap(), None);
        reader.finish().unwrap();
    }
}
