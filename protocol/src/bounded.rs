//! Lists and texts of messages, bounded before anything is allocated: a count read off the wire costs nothing until it was checked.

use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{self, Encode, Encoder, Write};

fn decode_list<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
    max: usize,
) -> Result<Vec<T>, Error> {
    let count = d.array()?.ok_or_else(|| Error::message("a list must state its length"))?;
    if count > max as u64 {
        return Err(Error::message("a list is longer than its bound"));
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(d.decode_with(ctx)?);
    }
    Ok(list)
}

macro_rules! list_of_at_most {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        pub(crate) mod $name {
            use super::{Decode, Decoder, Encode, Encoder, Error, Write, decode_list, encode};

            pub(crate) fn encode<C, T: Encode<C>, W: Write>(
                list: &[T],
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.array(list.len() as u64)?;
                list.iter().try_for_each(|item| item.encode(e, ctx))
            }

            pub(crate) fn decode<'b, C, T: Decode<'b, C>>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Vec<T>, Error> {
                decode_list(d, ctx, $max)
            }
        }
    };
}

list_of_at_most!(
    /// Addresses, stores, features.
    short_list,
    crate::limits::MAX_LIST
);
list_of_at_most!(
    /// Hashes, lengths, flags, announcements.
    batch,
    crate::limits::MAX_BATCH
);
list_of_at_most!(
    /// Shares of one object, columns of one share.
    shares,
    crate::limits::MAX_SHARES
);

/// Text for people, from somebody who may mean ill: cut to its bound, without control characters that a terminal would obey.
pub(crate) mod text {
    use super::{Decoder, Encoder, Error, Write, encode};
    use crate::limits::MAX_TEXT_LEN;

    pub(crate) fn encode<C, W: Write>(
        text: &str,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.str(text)?;
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
        let mut len = 0;
        let harmless = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let within = |c: &char| {
            len += c.len_utf8();
            len <= MAX_TEXT_LEN
        };
        Ok(d.str()?.chars().map(harmless).take_while(within).collect())
    }
}
