//! Lists of strings as they travel, each with its NUL: the receiver points into them, and copies
//! nothing.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::wire::{Reader, WireError, Writer};

/// A list of NUL-terminated strings in one block.
///
/// ```
/// use netrunner_core::spawn::StringsBuf;
///
/// let mut arguments = StringsBuf::new();
/// arguments.push(&[b"ls"]);
/// arguments.push(&[b"-l"]);
/// let arguments = arguments.as_strings();
/// assert!(arguments.iter().eq([c"ls", c"-l"]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'a> {
    block: &'a [u8],
    count: u32,
}

impl<'a> Strings<'a> {
    /// No strings.
    ///
    /// ```
    /// use netrunner_core::spawn::Strings;
    /// assert_eq!(Strings::EMPTY.len(), 0);
    /// ```
    pub const EMPTY: Strings<'static> = Strings { block: &[], count: 0 };

    /// How many strings there are.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b""]);
    /// // An empty string is one as well.
    /// assert_eq!(strings.as_strings().len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// The strings one after the other, each with its NUL.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"ls"]);
    /// strings.push(&[b"-l"]);
    /// assert_eq!(strings.as_strings().block(), b"ls\0-l\0");
    /// ```
    pub fn block(&self) -> &'a [u8] {
        self.block
    }

    /// Whether there are none.
    ///
    /// ```
    /// use netrunner_core::spawn::Strings;
    /// assert!(Strings::EMPTY.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings one by one.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"HOME", b"=", b"/root"]);
    /// assert_eq!(strings.as_strings().iter().next(), Some(c"HOME=/root"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.block;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.to_bytes_with_nul().len()..];
            Some(string)
        })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.count);
        out.bytes(self.block);
    }

    pub(crate) fn decode(from: &mut Reader<'a>) -> Result<Strings<'a>, WireError> {
        let count = from.u32()?;
        let block = from.bytes()?;
        let strings = Strings { block, count };
        // The loop ends early at bytes without a NUL. It skips from NUL to NUL by words, where a loop
        // over single bytes was a tenth of the shepherd's work.
        let mut whole = 0;
        let counted = strings.iter().inspect(|string| whole += string.to_bytes_with_nul().len());
        if counted.count() == count as usize && whole == block.len() {
            Ok(strings)
        } else {
            Err(WireError::Malformed)
        }
    }
}

/// Builds [`Strings`] one by one.
///
/// ```
/// use netrunner_core::spawn::StringsBuf;
///
/// let mut strings = StringsBuf::with_capacity(64);
/// strings.push(&[b"LANG", b"=", b"C"]);
/// assert_eq!(strings.as_strings().block(), b"LANG=C\0");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringsBuf {
    block: Vec<u8>,
    count: u32,
}

impl StringsBuf {
    /// An empty list.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    /// assert!(StringsBuf::new().as_strings().is_empty());
    /// ```
    pub fn new() -> StringsBuf {
        StringsBuf::default()
    }

    /// An empty list with room for so many bytes.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    /// assert_eq!(StringsBuf::with_capacity(4_096).bytes(), 0);
    /// ```
    pub fn with_capacity(bytes: usize) -> StringsBuf {
        StringsBuf { block: Vec::with_capacity(bytes), count: 0 }
    }

    /// Appends a string made of `parts`, which must hold no NUL (the caller has checked, and told
    /// its user).
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"KEY", b"=", b"value"]);
    /// assert_eq!(strings.as_strings().iter().next(), Some(c"KEY=value"));
    /// ```
    pub fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            debug_assert!(!part.contains(&0));
            self.block.extend_from_slice(part);
        }
        self.block.push(0);
        self.count += 1;
    }

    /// Whether the bytes at `from` are a string made of `parts`; if so, where the next one begins.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"A=1"]);
    /// strings.push(&[b"B=2"]);
    /// let next = strings.find(0, &[b"A", b"=", b"1"]);
    /// assert_eq!(next, Some(4));
    /// assert_eq!(strings.find(4, &[b"B", b"=", b"3"]), None);
    /// ```
    pub fn find(&self, from: usize, parts: &[&[u8]]) -> Option<usize> {
        let mut rest = self.block.get(from..)?;
        for part in parts {
            rest = rest.strip_prefix(*part)?;
        }
        let rest = rest.strip_prefix(&[0])?;
        Some(self.block.len() - rest.len())
    }

    /// The first of these strings, which take so many bytes together; all of them, if it is more.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"A=1"]);
    /// strings.push(&[b"B=2"]);
    /// assert_eq!(strings.first(4).as_strings().block(), b"A=1\0");
    /// ```
    pub fn first(&self, bytes: usize) -> StringsBuf {
        let first = &self.block[..bytes.min(self.block.len())];
        let count = first.iter().filter(|&&byte| byte == 0).count();
        let mut block = Vec::with_capacity(self.block.len());
        block.extend_from_slice(first);
        StringsBuf { block, count: u32::try_from(count).unwrap_or(u32::MAX) }
    }

    /// Forgets the strings and keeps the memory.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"A=1"]);
    /// strings.clear();
    /// assert!(strings.as_strings().is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.block.clear();
        self.count = 0;
    }

    /// How many bytes the strings take, their NULs included.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"A=1"]);
    /// assert_eq!(strings.bytes(), 4);
    /// ```
    pub fn bytes(&self) -> usize {
        self.block.len()
    }

    /// The list as it is sent.
    ///
    /// ```
    /// use netrunner_core::spawn::StringsBuf;
    ///
    /// let mut strings = StringsBuf::new();
    /// strings.push(&[b"A=1"]);
    /// assert_eq!(strings.as_strings().len(), 1);
    /// ```
    pub fn as_strings(&self) -> Strings<'_> {
        Strings { block: &self.block, count: self.count }
    }
}
