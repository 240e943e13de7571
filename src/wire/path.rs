//! Where a field is within a message.

/// A field by the names on the way to it, written with dots. No name: the message itself, written `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub(super) Vec<Box<str>>);

impl Path {
    /// From its written form. A dot in front is allowed (`.key` is the field `key`).
    ///
    /// # Errors
    /// A name between two dots is empty, or there are more than sixteen.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let names: Vec<Box<str>> = text.split('.').map(Into::into).collect();
        if names.iter().any(|name| name.is_empty()) {
            return Err("a name between two dots is empty");
        }
        if names.len() > 16 {
            return Err("more than sixteen levels");
        }
        Ok(Self(names))
    }

    /// Whether `inner` lies below it.
    #[must_use]
    pub fn contains(&self, inner: &Self) -> bool {
        inner.0.len() > self.0.len() && inner.0.starts_with(&self.0)
    }

    /// The path of what is named so below it, dots included.
    #[must_use]
    pub fn join(&self, name: &str) -> String {
        if self.is_root() { name.to_owned() } else { format!("{self}.{name}") }
    }

    /// Whether it is the message itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (level, name) in self.0.iter().enumerate() {
            if level > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_written_with_dots() {
        assert_eq!(Path::new("a.b").unwrap().to_string(), "a.b");
        assert_eq!(Path::new(".key").unwrap(), Path::new("key").unwrap());
        assert!(Path::new(".").unwrap().is_root());
        let path = |text| Path::new(text).unwrap();
        assert!(path("a").contains(&path("a.b")) && path(".").contains(&path("a")));
        assert!(!path("a").contains(&path("a")) && !path("a").contains(&path("ab.c")));
        assert_eq!((path("a.b").join("c.d"), path(".").join("c")), ("a.b.c.d".to_owned(), "c".to_owned()));
        assert!(Path::new("a..b").is_err());
        assert!(Path::new(&"a.".repeat(16)).is_err());
        assert!(Path::new(&vec!["a"; 17].join(".")).is_err());
    }
}
