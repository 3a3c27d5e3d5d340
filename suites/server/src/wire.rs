// SPDX-License-Identifier: MIT OR Apache-2.0
//! Structs as bytes, field by field, in a byte order that is known at run time only.
//!
//! The program may run on a machine whose kernel has another byte order than the compiler thinks (it may come here by
//! way of WebAssembly, which is always little-endian), so no struct is ever laid over bytes.

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest.
    Little,
    /// The highest.
    Big,
}

impl ByteOrder {
    /// The order of the kernel this program runs on.
    pub fn of_kernel() -> ByteOrder {
        match sys::big_endian() {
            true => ByteOrder::Big,
            false => ByteOrder::Little,
        }
    }
}

/// The bytes ended before the struct did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{need} more bytes expected, {have} left")]
pub struct Short {
    /// Bytes the next field needs.
    pub need: usize,
    /// Bytes there were.
    pub have: usize,
}

/// Collects bytes.
#[derive(Debug)]
pub struct Writer {
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty one.
    pub fn new(order: ByteOrder) -> Writer {
        Writer {
            order,
            bytes: Vec::new(),
        }
    }

    /// Adds a field or a whole struct.
    pub fn put<F: Field>(&mut self, field: &F) {
        field.put(self);
    }

    /// Adds bytes as they are.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was collected.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A field or struct as the kernel reads it.
pub fn bytes<F: Field>(field: &F) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::of_kernel());
    writer.put(field);
    writer.into_bytes()
}

/// Takes bytes apart.
#[derive(Clone, Debug)]
pub struct Reader<'b> {
    order: ByteOrder,
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Starts at the first of `bytes`.
    pub fn new(order: ByteOrder, bytes: &'b [u8]) -> Reader<'b> {
        Reader { order, rest: bytes }
    }

    /// The next field or struct.
    ///
    /// # Errors
    /// [`Short`] where the bytes end first.
    pub fn get<F: Field>(&mut self) -> Result<F, Short> {
        F::get(self)
    }

    /// Everything that is left.
    pub fn rest(&self) -> &'b [u8] {
        self.rest
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let short = Short {
            need: N,
            have: self.rest.len(),
        };
        let (head, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = rest;
        Ok(*head)
    }
}

/// Something with a fixed place in a message.
pub trait Field: Sized {
    /// Bytes it takes.
    const SIZE: usize;

    /// Adds it to `writer`.
    fn put(&self, writer: &mut Writer);

    /// Takes it from `reader`.
    ///
    /// # Errors
    /// [`Short`] where the bytes end first.
    fn get(reader: &mut Reader<'_>) -> Result<Self, Short>;
}

macro_rules! number_fields {
    ($($number:ty),*) => {$(
        impl Field for $number {
            const SIZE: usize = size_of::<$number>();

            fn put(&self, writer: &mut Writer) {
                match writer.order {
                    ByteOrder::Little => writer.put_bytes(&self.to_le_bytes()),
                    ByteOrder::Big => writer.put_bytes(&self.to_be_bytes()),
                }
            }

            fn get(reader: &mut Reader<'_>) -> Result<Self, Short> {
                let bytes = reader.take()?;
                Ok(match reader.order {
                    ByteOrder::Little => <$number>::from_le_bytes(bytes),
                    ByteOrder::Big => <$number>::from_be_bytes(bytes),
                })
            }
        }
    )*};
}
number_fields!(u16, u32, u64, i32);

/// Words the protocol keeps for later: written as zeros, skipped when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved<const WORDS: usize>;

impl<const WORDS: usize> Field for Reserved<WORDS> {
    const SIZE: usize = WORDS * u32::SIZE;

    fn put(&self, writer: &mut Writer) {
        (0..WORDS).for_each(|_| writer.put(&0u32));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, Short> {
        for _ in 0..WORDS {
            reader.get::<u32>()?;
        }
        Ok(Reserved)
    }
}

/// Declares structs whose fields lie in a message one after the other, in the order written.
macro_rules! wire_structs {
    ($(
        $(#[$outer:meta])*
        pub struct $name:ident { $( $(#[$inner:meta])* pub $field:ident: $kind:ty, )* }
    )*) => {$(
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $( $(#[$inner])* pub $field: $kind, )* }

        impl $crate::wire::Field for $name {
            const SIZE: usize = 0 $( + <$kind as $crate::wire::Field>::SIZE )*;

            fn put(&self, writer: &mut $crate::wire::Writer) {
                $( writer.put(&self.$field); )*
            }

            fn get(reader: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::Short> {
                Ok($name { $( $field: reader.get()?, )* })
            }
        }
    )*};
}
pub(crate) use wire_structs;

#[cfg(test)]
mod tests {
    use super::*;

    wire_structs! {
        /// Every kind of field.
        pub struct Sample {
            /// 2 bytes.
            pub short: u16,
            /// 2 bytes.
            pub other: u16,
            /// 4 bytes.
            pub signed: i32,
            /// 8 bytes.
            pub long: u64,
            /// 8 bytes.
            pub later: Reserved<2>,
        }
    }

    const SAMPLE: Sample = Sample {
        short: 0x0102,
        other: 0xa0b0,
        signed: -2,
        long: 0x1122_3344_5566_7788,
        later: Reserved,
    };

    fn bytes(order: ByteOrder) -> Vec<u8> {
        let mut writer = Writer::new(order);
        writer.put(&SAMPLE);
        writer.into_bytes()
    }

    #[test]
    fn numbers_lie_in_the_order_asked_for() {
        #[rustfmt::skip]
        assert_eq!(bytes(ByteOrder::Little), [
            0x02, 0x01, 0xb0, 0xa0, 0xfe, 0xff, 0xff, 0xff,
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        #[rustfmt::skip]
        assert_eq!(bytes(ByteOrder::Big), [
            0x01, 0x02, 0xa0, 0xb0, 0xff, 0xff, 0xff, 0xfe,
            0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
    }

    #[test]
    fn what_is_written_is_read() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = bytes(order);
            assert_eq!(bytes.len(), Sample::SIZE);
            let mut reader = Reader::new(order, &bytes);
            assert_eq!(reader.get(), Ok(SAMPLE));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn bytes_that_end_early_are_an_error() {
        let bytes = bytes(ByteOrder::Big);
        for cut in 0..bytes.len() {
            let read = Reader::new(ByteOrder::Big, &bytes[..cut]).get::<Sample>();
            assert!(read.is_err(), "cut at {cut}");
        }
    }
}
