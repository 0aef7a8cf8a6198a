//! The words of the command line that stand for quantities: durations, sizes, limits, masks and
//! `K=V`. Pure; what is done with them is the work of `run`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use netrunner_sync::{Resource, WinSize};

/// One `--rlimit`: `NAME=SOFT[:HARD]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// What is limited.
    pub(crate) resource: Resource,
    /// The limit that counts.
    pub(crate) soft: u64,
    /// How far the child may raise it.
    pub(crate) hard: u64,
}

/// One `--env`: `K=V`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The name.
    pub(crate) name: OsString,
    /// The value, possibly empty.
    pub(crate) value: OsString,
}

/// The units of time and the nanoseconds in each.
const TIMES: [(&str, u128); 7] = [
    ("", 1_000_000_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads `300ms`, `0.3s`, `2m`, `1h`, `1d`; a bare number is seconds, as in timeout(1).
///
/// Decimal all the way: a detour through a float would make 0.3 s a hair shorter than 300 ms.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let form = "use a number and one of us, ms, s, m, h, d: 300ms, 0.3s, 2m";
    let long = || format!("`{text}` is too long");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let Some(&(_, nanos)) = TIMES.iter().find(|(name, _)| *name == unit) else {
        return Err(form.to_owned());
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(form.to_owned());
    }
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<u128>().map_err(|_| long())?,
    };
    let part = match fraction {
        "" => 0,
        // The product below has room for these; a float printed in full has no more than 17.
        digits if digits.len() > 20 => return Err(long()),
        digits => {
            let value: u128 = digits.parse().map_err(|_| long())?;
            // Up, so that what is not zero does not become it.
            (value * nanos).div_ceil(10u128.pow(digits.len() as u32))
        }
    };
    let total = whole.checked_mul(nanos).and_then(|n| n.checked_add(part)).ok_or_else(long)?;
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| long())?;
    Ok(Duration::new(seconds, (total % 1_000_000_000) as u32))
}

/// Reads the size of a terminal: `24x80`.
pub(crate) fn window(text: &str) -> Result<WinSize, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Reads `65536`, `64K`, `2G` (powers of 1024), or `max`: no limit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if text == "max" {
        return Ok(Resource::UNLIMITED);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return Err(format!("`{text}` is not a size: use 4096, 64K, 2G or max")),
    };
    if number.is_empty() {
        return Err(format!("`{text}` is not a size: use 4096, 64K, 2G or max"));
    }
    let large = || format!("`{text}` is too large: use max for no limit");
    let number: u64 = number.parse().map_err(|_| large())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes != Resource::UNLIMITED).ok_or_else(large)
}

/// Reads `NAME=SOFT[:HARD]`; without HARD both limits are SOFT, as in ulimit and prlimit(1).
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    let Some((name, values)) = text.split_once('=') else {
        return Err("use NAME=SOFT or NAME=SOFT:HARD: NOFILE=64, AS=2G:max".to_owned());
    };
    let upper = name.to_ascii_uppercase();
    let known = Resource::from_name(upper.strip_prefix("RLIMIT_").unwrap_or(&upper));
    let Some(resource) = known else {
        return Err(format!(
            "unknown resource `{name}`: the names are those of getrlimit(2), without RLIMIT_"
        ));
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (size(soft)?, size(hard)?);
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok(Limit { resource, soft, hard })
}

/// Reads a file mode creation mask: octal, as in the shell.
pub(crate) fn umask(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(text, 8) {
        Ok(mask) if octal && mask <= 0o777 => Ok(mask),
        Ok(_) | Err(_) => Err("use an octal number from 0 to 777, such as 027".to_owned()),
    }
}

/// Reads `K=V`; neither has to be UTF-8.
pub(crate) fn variable(text: OsString) -> Result<Variable, String> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(0) => Err("the name is missing before the `=`".to_owned()),
        Some(at) => Ok(Variable {
            name: OsStr::from_bytes(&bytes[..at]).to_owned(),
            value: OsString::from_vec(bytes[at + 1..].to_vec()),
        }),
        None => Err("use NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("300ms", ms(300)),
            ("0.3s", ms(300)),
            ("0.3", ms(300)),
            (".5", ms(500)),
            ("5.", ms(5000)),
            ("5", ms(5000)),
            ("2m", ms(120_000)),
            ("1h", ms(3_600_000)),
            ("1d", ms(86_400_000)),
            ("1.5m", ms(90_000)),
            ("250us", Duration::from_micros(250)),
            ("0", Duration::ZERO),
            ("0.000ms", Duration::ZERO),
            ("0.00000000000000000001s", Duration::from_nanos(1)),
            ("0.3000000000000000444d", Duration::new(25_920, 1)),
            ("0.0000000001s", Duration::from_nanos(1)),
            ("18446744073709551615s", Duration::from_secs(u64::MAX)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            ".",
            "s",
            "ms",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1 s",
            "1S",
            "1min",
            "1e3",
            "1..2",
            "1.2.3",
            "0x10",
            "inf",
            "nan",
            "1m30s",
            "1,5",
            "١s",
            "18446744073709551616s",
            "1e400",
            "0.300000000000000000000s",
            "999999999999999999999999999999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}: {:?}", duration(text));
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("3M", 3 << 20),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
            ("15E", 15 << 60),
            ("max", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "K",
            "-1",
            "+1",
            "1.5G",
            "1 K",
            "1KB",
            "16E",
            "Max",
            "18446744073709551615",
            "99999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}: {:?}", size(text));
        }
    }

    #[test]
    fn a_limit_without_a_hard_one_sets_both() {
        let nofile = |soft, hard| Ok(Limit { resource: Resource::NOFILE, soft, hard });
        assert_eq!(limit("NOFILE=64"), nofile(64, 64));
        assert_eq!(limit("nofile=64:1K"), nofile(64, 1024));
        assert_eq!(limit("RLIMIT_NOFILE=64:max"), nofile(64, u64::MAX));
        for text in [
            "",
            "NOFILE",
            "NOFILE=",
            "=5",
            "NOPE=5",
            "NOFILE=5:",
            "NOFILE=:5",
            "NOFILE=6:5",
            "NOFILE=max:5",
            "NOFILE=1:2:3",
            "NOFILE=x",
        ] {
            assert!(limit(text).is_err(), "{text}: {:?}", limit(text));
        }
    }

    #[test]
    fn a_mask_is_octal() {
        assert_eq!(umask("027"), Ok(0o27));
        assert_eq!(umask("0"), Ok(0));
        assert_eq!(umask("0777"), Ok(0o777));
        for text in ["", "8", "1000", "-1", "+7", "0o27", "a", "77777777777777"] {
            assert!(umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_is_split_at_the_first_sign() {
        let read = |bytes: &[u8]| variable(OsString::from_vec(bytes.to_vec()));
        let is = |name: &[u8], value: &[u8]| {
            let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Ok(Variable { name: owned(name), value: owned(value) })
        };
        assert_eq!(read(b"A=1"), is(b"A", b"1"));
        assert_eq!(read(b"A="), is(b"A", b""));
        assert_eq!(read(b"A=b=c"), is(b"A", b"b=c"));
        assert_eq!(read(b"\xff=\xfe"), is(b"\xff", b"\xfe"));
        assert!(read(b"A").is_err());
        assert!(read(b"=A").is_err());
        assert!(read(b"").is_err());
    }
}
