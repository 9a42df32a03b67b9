//! The zip format (PKWARE APPNOTE 6.3.10): entries stored as they are, their lengths and checksums behind them, and a list of all at the end.
//! 64-bit fields stand where 32 bits are too few.

use encoding::directory::Time;

pub(super) use crc32fast::Hasher as Crc;

/// What version of the format is needed: 2.0, and 4.5 with 64-bit fields.
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// Made on Unix, so that the mode counts.
const MADE_BY: u16 = (3 << 8) | VERSION_64;
/// Lengths stand behind the content, and names are UTF-8.
const FLAGS: u16 = (1 << 3) | (1 << 11);
/// What stands where 64 bits are needed.
const SEE_64: u32 = u32::MAX;

/// What a zip cannot hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooMuch {
    /// More entries than are put into one zip.
    #[error("it has more entries than are put into one zip")]
    Entries,
    /// The lists of all zips together are as long as they may be.
    #[error("its list finds no room beside those of other zips")]
    Room,
    #[error("a path in it is longer than the {} bytes that a zip can name", u16::MAX)]
    Path,
    /// More bytes came than the entry said before them.
    #[error("a file in it is longer than it was said to be")]
    Size,
}

/// Bytes of the pieces that the list is kept in.
pub(super) const CHUNK: usize = 64 << 10;
/// More than an entry of the list takes besides its path, and the end after it.
const ENTRY: usize = 256;

/// An entry as it is listed.
pub(super) struct Listed {
    name: String,
    modified: Option<Time>,
    mode: u32,
    is_64: bool,
    offset: u64,
}

impl Listed {
    pub(super) fn directory(path: &str, modified: Option<Time>) -> Self {
        Self { name: format!("{path}/"), modified, mode: 0o40_755, is_64: false, offset: 0 }
    }

    pub(super) fn file(path: &str, modified: Option<Time>, size: u64) -> Self {
        let is_64 = size >= u64::from(SEE_64);
        Self { name: path.to_owned(), modified, mode: 0o100_644, is_64, offset: 0 }
    }
}

/// Makes the parts of a zip that are not content.
#[derive(Default)]
pub(super) struct Writer {
    at: u64,
    entries: u64,
    list: Vec<Vec<u8>>,
    open: Option<Listed>,
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn put64(out: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// As much of a number as 32 bits hold; where they do not, the mark that 64 follow.
fn short(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(SEE_64)
}

impl Writer {
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of the list so far.
    fn list_len(&self) -> usize {
        let last = self.list.last().map_or(0, Vec::len);
        self.list.len().saturating_sub(1) * CHUNK + last
    }

    /// Chunks of the list with one more entry and its end.
    pub(super) fn chunks_with(&self, path: &str) -> usize {
        (self.list_len() + path.len() + ENTRY).div_ceil(CHUNK)
    }

    fn keep(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.list.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.list.push(Vec::with_capacity(CHUNK));
            }
            let Some(chunk) = self.list.last_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - chunk.len()));
            chunk.extend_from_slice(now);
            bytes = later;
        }
    }

    /// What stands before the content of an entry.
    pub(super) fn begin(&mut self, mut entry: Listed) -> Result<Vec<u8>, TooMuch> {
        let name_len = u16::try_from(entry.name.len()).map_err(|_| TooMuch::Path)?;
        entry.offset = self.at;
        let is_directory = entry.name.ends_with('/');
        let mut extra = Vec::new();
        if entry.is_64 {
            put16(&mut extra, &[1, 16]);
            put64(&mut extra, &[0, 0]);
        }
        extra.extend(timestamp(entry.modified));
        let mut out = Vec::with_capacity(30 + entry.name.len() + extra.len());
        let (time, date) = dos_time(entry.modified);
        // A directory has no content, and so nothing behind it.
        let flags = if is_directory { 1 << 11 } else { FLAGS };
        let size = if entry.is_64 { SEE_64 } else { 0 };
        put32(&mut out, &[0x0403_4b50]);
        put16(&mut out, &[if entry.is_64 { VERSION_64 } else { VERSION }, flags, 0, time, date]);
        put32(&mut out, &[0, size, size]);
        put16(&mut out, &[name_len, extra.len() as u16]);
        out.extend_from_slice(entry.name.as_bytes());
        out.extend_from_slice(&extra);
        self.at += out.len() as u64;
        self.open = Some(entry);
        Ok(out)
    }

    /// What stands behind the content of that entry.
    pub(super) fn end(&mut self, crc: u32, size: u64) -> Result<Vec<u8>, TooMuch> {
        let mut out = Vec::new();
        let Some(entry) = self.open.take() else { return Ok(out) };
        if !entry.is_64 && size >= u64::from(SEE_64) {
            return Err(TooMuch::Size);
        }
        let is_directory = entry.name.ends_with('/');
        if !is_directory {
            put32(&mut out, &[0x0807_4b50, crc]);
            match entry.is_64 {
                true => put64(&mut out, &[size, size]),
                false => put32(&mut out, &[size as u32, size as u32]),
            }
        }
        self.at += size + out.len() as u64;
        self.list(&entry, crc, size, is_directory);
        Ok(out)
    }

    fn list(&mut self, entry: &Listed, crc: u32, size: u64, is_directory: bool) {
        let mut wide = Vec::new();
        if entry.is_64 {
            put64(&mut wide, &[size, size]);
        }
        if entry.offset >= u64::from(SEE_64) {
            put64(&mut wide, &[entry.offset]);
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            put16(&mut extra, &[1, wide.len() as u16]);
            extra.extend_from_slice(&wide);
        }
        extra.extend(timestamp(entry.modified));
        let (time, date) = dos_time(entry.modified);
        let flags = if is_directory { 1 << 11 } else { FLAGS };
        let shown = if entry.is_64 { SEE_64 } else { size as u32 };
        let version = if wide.is_empty() { VERSION } else { VERSION_64 };
        let mut out = Vec::with_capacity(46);
        put32(&mut out, &[0x0201_4b50]);
        put16(&mut out, &[MADE_BY, version, flags, 0, time, date]);
        put32(&mut out, &[crc, shown, shown]);
        put16(&mut out, &[entry.name.len() as u16, extra.len() as u16, 0, 0, 0]);
        // The low byte is for DOS: 16 is a directory.
        put32(&mut out, &[(entry.mode << 16) | if is_directory { 16 } else { 0 }, short(entry.offset)]);
        self.keep(&out);
        self.keep(entry.name.as_bytes());
        self.keep(&extra);
        self.entries += 1;
    }

    /// The list, and the end.
    pub(super) fn finish(&mut self) -> Vec<Vec<u8>> {
        let (start, len, entries) = (self.at, self.list_len() as u64, self.entries);
        let mut out = Vec::new();
        if entries >= u64::from(u16::MAX) || start >= u64::from(SEE_64) || len >= u64::from(SEE_64) {
            put32(&mut out, &[0x0606_4b50]);
            put64(&mut out, &[44]);
            put16(&mut out, &[MADE_BY, VERSION_64]);
            put32(&mut out, &[0, 0]);
            put64(&mut out, &[entries, entries, len, start]);
            put32(&mut out, &[0x0706_4b50, 0]);
            put64(&mut out, &[start + len]);
            put32(&mut out, &[1]);
        }
        let count = u16::try_from(entries).unwrap_or(u16::MAX);
        put32(&mut out, &[0x0605_4b50]);
        put16(&mut out, &[0, 0, count, count]);
        put32(&mut out, &[short(len), short(start)]);
        put16(&mut out, &[0]);
        self.keep(&out);
        std::mem::take(&mut self.list)
    }
}

/// When it changed, in seconds since 1970, for those who read it; DOS knows no time zone.
fn timestamp(time: Option<Time>) -> Vec<u8> {
    let Some(seconds) = time.and_then(|time| i32::try_from(time.seconds).ok()) else { return Vec::new() };
    let mut out = Vec::new();
    put16(&mut out, &[0x5455, 5]);
    out.push(1);
    out.extend_from_slice(&seconds.to_le_bytes());
    out
}

/// Time and date as DOS has them, from 1980 to 2107.
fn dos_time(time: Option<Time>) -> (u16, u16) {
    let seconds = time.map_or(0, |time| time.seconds).clamp(315_532_800, 4_354_819_198);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let time = ((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2);
    let date = ((year - 1980) << 9) | (month << 5) | day;
    (time as u16, date as u16)
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
        let (time, date) = dos_time(Some(Time { seconds: 1_795_219_546, nanoseconds: 0 }));
        assert_eq!((date >> 9, date >> 5 & 15, date & 31), (46, 11, 21));
        assert_eq!((time >> 11, time >> 5 & 63, time & 31), (0, 5, 23));
    }

    #[test]
    fn large_files_and_places_have_64_bits() {
        let mut writer = Writer::default();
        let size = 5_000_000_000;
        let head = writer.begin(Listed::file("big", None, size)).unwrap();
        assert_eq!(head[18..26], [0xff; 8]);
        assert_eq!(writer.end(7, size).unwrap().len(), 4 + 4 + 16);
        writer.begin(Listed::file("behind", None, 1)).unwrap();
        writer.end(7, 1).unwrap();
        let end = writer.finish().concat();
        assert!(end.windows(4).any(|window| window == 0x0606_4b50u32.to_le_bytes()), "no 64-bit end");
        assert!(
            end.windows(8).any(|window| window == (size + 30 + 3 + 20 + 24).to_le_bytes()),
            "no 64-bit place"
        );
    }

    #[test]
    fn a_list_takes_the_chunks_that_were_foretold() {
        let mut writer = Writer::default();
        let path = "x".repeat(65_000);
        let mut len = 0;
        for _ in 0..50 {
            let most = writer.chunks_with(&path);
            writer.begin(Listed::file(&path, None, 1)).unwrap();
            writer.end(7, 1).unwrap();
            len += 46 + path.len();
            assert_eq!(writer.list_len(), len);
            assert!(writer.list.len() <= most);
        }
        let most = writer.chunks_with("");
        let all = writer.finish();
        assert!(all.len() <= most && all.iter().rev().skip(1).all(|chunk| chunk.len() == CHUNK));
        assert_eq!(all.concat().len(), len + 22);
    }

    #[test]
    fn what_no_field_holds_is_refused() {
        let mut writer = Writer::default();
        let path = "x".repeat(65_535);
        writer.begin(Listed::file(&path, None, 1)).unwrap();
        assert!(matches!(writer.begin(Listed::directory(&path, None)), Err(TooMuch::Path)));
        assert!(matches!(writer.end(7, u64::from(u32::MAX)), Err(TooMuch::Size)));
    }
}
