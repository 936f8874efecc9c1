//! The version that a nats-server says it has.

/// Atomic batches, message counters and the settings that the streams rely on are there from this version on.
pub const OLDEST: Version = Version { major: 2, minor: 15, patch: 0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Reads the output of `nats-server --version`, `nats-server: v2.15.1`. A suffix such as `-beta.2` is not looked at.
    pub fn parse(output: &str) -> Option<Self> {
        let numbers = output.trim().strip_prefix("nats-server: v")?;
        let numbers = numbers.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered_by_number() {
        let of = |text: &str| Version::parse(text);
        assert_eq!(of("nats-server: v2.15.1\n"), Some(Version { major: 2, minor: 15, patch: 1 }));
        assert_eq!(of("nats-server: v2.16.0-RC.1"), Some(Version { major: 2, minor: 16, patch: 0 }));
        assert!(of("nats-server: v2.9.25").is_some_and(|v| v < OLDEST));
        assert!(of("nats-server: v2.15.0").is_some_and(|v| v >= OLDEST));
        assert!(of("nats-server: v10.0.0").is_some_and(|v| v > OLDEST));
    }

    #[test]
    fn anything_else_is_no_version() {
        for text in ["", "nats-server", "nats-server: v2.15", "nats-server: v2.15.1.4", "nats-server: v2.x.1", "2.15.1"]
        {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }
}
