//! What limits are set to: a number or none, those for one device, and what is written in the end.

/// An amount that may be without limit.
///
/// ```
/// use netrunner_cgroup::Limit;
///
/// assert_eq!(Limit::from(4096).to_string(), "4096");
/// assert_eq!(Limit::MAX.to_string(), "max");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(Option<u64>);

impl Limit {
    /// No limit: `max`.
    ///
    /// ```
    /// use netrunner_cgroup::Limit;
    /// assert!(Limit::MAX != Limit::from(u64::MAX));
    /// ```
    pub const MAX: Self = Self(None);
}

impl From<u64> for Limit {
    fn from(amount: u64) -> Self {
        Self(Some(amount))
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(amount) => write!(f, "{amount}"),
            None => write!(f, "max"),
        }
    }
}

/// Limits of `io.max` for one device; what is not set stays as it is, which is without limit at first.
///
/// ```
/// use netrunner_cgroup::{Cgroup, IoMax};
///
/// let slow = IoMax::device(8, 0).read_bytes(10 << 20).write_bytes(1 << 20).writes(100);
/// let group = Cgroup::auto().io_max(slow);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoMax(String);

impl IoMax {
    /// For the device with these numbers.
    ///
    /// ```
    /// # use netrunner_cgroup::IoMax;
    /// let disk = IoMax::device(8, 16); // as `lsblk` lists it: MAJ:MIN
    /// ```
    #[must_use]
    pub fn device(major: u32, minor: u32) -> Self {
        Self(format!("{major}:{minor}"))
    }

    /// Bytes read in a second.
    ///
    /// ```
    /// # use netrunner_cgroup::IoMax;
    /// let disk = IoMax::device(8, 16).read_bytes(10 << 20);
    /// ```
    #[must_use]
    pub fn read_bytes(self, limit: impl Into<Limit>) -> Self {
        self.and("rbps", limit.into())
    }

    /// Bytes written in a second.
    ///
    /// ```
    /// # use netrunner_cgroup::IoMax;
    /// let disk = IoMax::device(8, 16).write_bytes(1 << 20);
    /// ```
    #[must_use]
    pub fn write_bytes(self, limit: impl Into<Limit>) -> Self {
        self.and("wbps", limit.into())
    }

    /// Reads in a second.
    ///
    /// ```
    /// # use netrunner_cgroup::IoMax;
    /// let disk = IoMax::device(8, 16).reads(1_000);
    /// ```
    #[must_use]
    pub fn reads(self, limit: impl Into<Limit>) -> Self {
        self.and("riops", limit.into())
    }

    /// Writes in a second.
    ///
    /// ```
    /// # use netrunner_cgroup::IoMax;
    /// let disk = IoMax::device(8, 16).writes(netrunner_cgroup::Limit::MAX);
    /// ```
    #[must_use]
    pub fn writes(self, limit: impl Into<Limit>) -> Self {
        self.and("wiops", limit.into())
    }

    /// As `io.max` takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn and(mut self, key: &str, limit: Limit) -> Self {
        self.0 = format!("{} {key}={limit}", self.0);
        self
    }
}

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) file: String,
    pub(crate) value: String,
}

impl Setting {
    /// The controller that has this file.
    pub(crate) fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}
