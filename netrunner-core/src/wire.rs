//! Framing: how messages become bytes on the lane and how bytes become frames again.
//!
//! A frame is an 8-byte header and a payload. The lane is a stream: frames arrive split and glued
//! together as the kernel likes, and [`Inbox`] puts them right. Nothing is believed: the version is
//! compared in every header, a length over the cap is refused before a byte of it is stored, and
//! memory grows with what has arrived, not with what was announced.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;
use core::time::Duration;

use crate::time::saturating_nanos;

/// The version of the protocol; it stands in every header.
///
/// ```
/// use netrunner_core::wire::{Inbox, MAX_EVENT, VERSION, WireError};
///
/// // One byte is enough to tell.
/// let mut inbox = Inbox::new(MAX_EVENT);
/// inbox.room()[0] = VERSION + 1;
/// inbox.filled(1);
/// assert_eq!(inbox.next_frame(), Err(WireError::Version(VERSION + 1)));
/// ```
pub const VERSION: u8 = 3;

/// Bytes in a header: version, kind, number of descriptors, zero, payload length (little endian).
///
/// ```
/// use netrunner_core::{message::Order, wire::HEADER};
///
/// let mut bytes = Vec::new();
/// Order::Guard.encode(&mut bytes);
/// let (header, payload) = bytes.split_at(HEADER);
/// assert_eq!((header[2], payload), (1, &[][..]), "one descriptor, nothing else");
/// ```
pub const HEADER: usize = 8;

/// The longest payload of a request: more than any argv + environment that Linux can execute
/// (6 MiB, `execve(2)`).
///
/// ```
/// use netrunner_core::wire::{Inbox, MAX_REQUEST};
/// let shepherds = Inbox::new(MAX_REQUEST);
/// assert!(shepherds.is_empty());
/// ```
pub const MAX_REQUEST: usize = 8 << 20;

/// The longest payload of an event.
///
/// ```
/// use netrunner_core::wire::{Inbox, MAX_EVENT};
/// let clients = Inbox::new(MAX_EVENT);
/// assert!(clients.is_empty());
/// ```
pub const MAX_EVENT: usize = 256 << 10;

/// The most descriptors that one frame can carry (`SCM_MAX_FD`, `unix(7)`).
///
/// ```
/// use netrunner_core::wire::{HEADER, Inbox, MAX_DESCRIPTORS, MAX_REQUEST, VERSION, WireError};
///
/// let header: [u8; HEADER] = [VERSION, 1, MAX_DESCRIPTORS as u8 + 1, 0, 0, 0, 0, 0];
/// let mut inbox = Inbox::new(MAX_REQUEST);
/// inbox.room()[..HEADER].copy_from_slice(&header);
/// inbox.filled(HEADER);
/// assert_eq!(inbox.next_frame(), Err(WireError::Descriptors));
/// ```
pub const MAX_DESCRIPTORS: usize = 253;

/// Why bytes are not a message. After one the lane is of no more use.
///
/// ```
/// use netrunner_core::wire::WireError;
/// assert_eq!(WireError::UnknownKind(9).to_string(), "a frame of the unknown kind 9");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The peer speaks another version of the protocol.
    Version(u8),
    /// The announced payload is longer than the cap.
    TooLong(u32),
    /// No message of that kind is known, or not in this direction.
    UnknownKind(u8),
    /// The payload ends too early, goes on too long, or holds a value that means nothing.
    Malformed,
    /// The frame came with another number of descriptors than it announced.
    Descriptors,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Version(theirs) => {
                write!(f, "the peer speaks protocol version {theirs}, this side speaks {VERSION}")
            }
            WireError::TooLong(length) => write!(f, "a frame of {length} bytes is over the cap"),
            WireError::UnknownKind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            WireError::Malformed => f.write_str("a malformed frame"),
            WireError::Descriptors => f.write_str("a frame with the wrong number of descriptors"),
        }
    }
}

impl core::error::Error for WireError {}

/// One whole frame, still in the inbox's buffer.
///
/// ```
/// use netrunner_core::message::Order;
/// use netrunner_core::wire::{Frame, WireError};
///
/// let frame = Frame { kind: 255, descriptors: 0, payload: &[] };
/// assert_eq!(Order::decode(frame), Err(WireError::UnknownKind(255)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What kind of message it is.
    pub kind: u8,
    /// How many descriptors belong to it.
    pub descriptors: u8,
    /// The message's bytes.
    pub payload: &'a [u8],
}

/// Where received bytes gather until they are frames.
///
/// ```
/// use netrunner_core::message::Order;
/// use netrunner_core::wire::{Inbox, MAX_REQUEST};
///
/// let mut bytes = Vec::new();
/// Order::Guard.encode(&mut bytes);
/// // They arrive one by one.
/// let mut inbox = Inbox::new(MAX_REQUEST);
/// let mut orders = Vec::new();
/// for byte in bytes {
///     inbox.room()[0] = byte;
///     inbox.filled(1);
///     if let Some(frame) = inbox.next_frame()? {
///         orders.push(Order::decode(frame)?);
///     }
/// }
/// assert_eq!(orders, [Order::Guard]);
/// # Ok::<(), netrunner_core::wire::WireError>(())
/// ```
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    cap: usize,
}

/// The least room that is offered to one read: there is an inbox at both ends of each lane, and most of
/// what arrives is short.
const CHUNK: usize = 1024;

/// A buffer larger than this is given back once it is empty.
const KEEP: usize = 64 << 10;

impl Inbox {
    /// An empty inbox that refuses payloads longer than `cap`.
    ///
    /// ```
    /// use netrunner_core::wire::{HEADER, Inbox, VERSION, WireError};
    ///
    /// let mut inbox = Inbox::new(100);
    /// inbox.room()[..HEADER].copy_from_slice(&[VERSION, 1, 0, 0, 101, 0, 0, 0]);
    /// inbox.filled(HEADER);
    /// assert_eq!(inbox.next_frame(), Err(WireError::TooLong(101)));
    /// ```
    pub fn new(cap: usize) -> Inbox {
        Inbox { buffer: Vec::new(), start: 0, end: 0, cap }
    }

    /// Room for the next read, never empty. Say with [`Inbox::filled`] how much was read.
    ///
    /// ```
    /// use netrunner_core::wire::{Inbox, MAX_EVENT};
    /// // What a read of no bytes would return could be taken for the end of the lane.
    /// assert!(!Inbox::new(MAX_EVENT).room().is_empty());
    /// ```
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > KEEP {
                self.buffer = Vec::new();
            }
        }
        // What has arrived is moved to the front at most once per doubling, so a frame of n bytes
        // costs O(n) however it is cut.
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let wanted = (self.end * 2).max(CHUNK * 2);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Says that `count` bytes of [`Inbox::room`] now hold data; more than there was is ignored.
    ///
    /// ```
    /// use netrunner_core::wire::{Inbox, MAX_EVENT, VERSION};
    ///
    /// let mut inbox = Inbox::new(MAX_EVENT);
    /// inbox.room()[0] = VERSION;
    /// inbox.filled(1);
    /// assert!(!inbox.is_empty());
    /// ```
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Whether no byte of an unfinished frame is left.
    ///
    /// ```
    /// use netrunner_core::wire::{Inbox, MAX_EVENT};
    /// assert!(Inbox::new(MAX_EVENT).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next whole frame, if it is there.
    ///
    /// ```
    /// use netrunner_core::message::{Event, Pid};
    /// use netrunner_core::wire::{Inbox, MAX_EVENT};
    ///
    /// let mut bytes = Vec::new();
    /// Event::Hello(Pid(100)).encode(&mut bytes);
    /// let mut inbox = Inbox::new(MAX_EVENT);
    /// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
    /// inbox.filled(bytes.len());
    /// assert!(inbox.next_frame()?.is_some());
    /// assert!(inbox.next_frame()?.is_none());
    /// # Ok::<(), netrunner_core::wire::WireError>(())
    /// ```
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let waiting = &self.buffer[self.start..self.end];
        let Some(header) = waiting.first_chunk::<HEADER>() else {
            // The version is judged as soon as it can be: a peer of another version may use
            // another header and never send eight bytes.
            return match waiting.first() {
                Some(&version) if version != VERSION => Err(WireError::Version(version)),
                Some(_) | None => Ok(None),
            };
        };
        let [version, kind, descriptors, zero, length @ ..] = *header;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        if zero != 0 {
            return Err(WireError::Malformed);
        }
        let length = u32::from_le_bytes(length);
        let payload = length as usize;
        if payload > self.cap {
            return Err(WireError::TooLong(length));
        }
        if usize::from(descriptors) > MAX_DESCRIPTORS {
            return Err(WireError::Descriptors);
        }
        if waiting.len() < HEADER + payload {
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start = from + payload;
        Ok(Some(Frame { kind, descriptors, payload: &self.buffer[from..from + payload] }))
    }
}

/// Appends one frame to `out`: the header, and what `payload` writes.
pub(crate) fn frame(
    out: &mut Vec<u8>,
    kind: u8,
    descriptors: usize,
    payload: impl FnOnce(&mut Writer<'_>),
) {
    assert!(descriptors <= MAX_DESCRIPTORS, "more descriptors than a frame can carry");
    let start = out.len();
    out.extend_from_slice(&[VERSION, kind, descriptors as u8, 0, 0, 0, 0, 0]);
    payload(&mut Writer(out));
    let length = u32::try_from(out.len() - start - HEADER).expect("a frame below 4 GiB");
    out[start + 4..start + HEADER].copy_from_slice(&length.to_le_bytes());
}

/// Writes the parts of a payload.
pub(crate) struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn duration(&mut self, value: Duration) {
        self.u64(saturating_nanos(value));
    }

    /// A block of known length: its length, then its bytes.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).expect("a block below 4 GiB"));
        self.0.extend_from_slice(value);
    }

    /// A block whose length shows once `content` has written it.
    pub(crate) fn block(&mut self, content: impl FnOnce(&mut Writer<'_>)) {
        let start = self.0.len();
        self.u32(0);
        content(&mut Writer(self.0));
        let length = u32::try_from(self.0.len() - start - 4).expect("a block below 4 GiB");
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                some(self, value);
            }
        }
    }
}

/// Reads the parts of a payload; every step can find it malformed.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `payload` by `parts`, which must use all of it.
    pub(crate) fn whole<T>(
        payload: &'a [u8],
        parts: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut reader = Reader(payload);
        let value = parts(&mut reader)?;
        if reader.0.is_empty() { Ok(value) } else { Err(WireError::Malformed) }
    }

    /// Reads a block that was checked before.
    pub(crate) fn over(block: &'a [u8]) -> Reader<'a> {
        Reader(block)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn duration(&mut self) -> Result<Duration, WireError> {
        self.u64().map(Duration::from_nanos)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A block that is one string with its NUL.
    pub(crate) fn string(&mut self) -> Result<&'a CStr, WireError> {
        CStr::from_bytes_with_nul(self.bytes()?).map_err(|_| WireError::Malformed)
    }

    pub(crate) fn option<T>(
        &mut self,
        some: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        match self.u8()? {
            0 => Ok(None),
            1 => some(self).map(Some),
            _ => Err(WireError::Malformed),
        }
    }
}
