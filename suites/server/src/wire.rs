// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encodes and decodes structs field by field, in a byte order that is known only at run time.
//!
//! The kernel's byte order can differ from the compiler's: a program built through WebAssembly is always
//! little-endian. Structs are therefore never cast to bytes or from them.

/// Byte order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
}

impl ByteOrder {
    /// Returns the byte order of the running kernel.
    pub(crate) fn of_kernel() -> ByteOrder {
        if sys::big_endian() { ByteOrder::Big } else { ByteOrder::Little }
    }
}

/// Error of decoding a struct from too few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {need} more bytes, but only {have} are left")]
pub struct TooShort {
    /// Size of the next field, in bytes.
    pub need: usize,
    /// Number of bytes left.
    pub have: usize,
}

/// Encoder: appends fields to a buffer.
#[derive(Debug)]
pub struct Writer {
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Writer {
    /// Returns an empty writer.
    pub fn new(order: ByteOrder) -> Writer {
        Writer { order, bytes: Vec::new() }
    }

    /// Appends a field or a whole struct.
    pub fn put<F: Field>(&mut self, field: &F) {
        field.put(self);
    }

    /// Appends bytes unchanged.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the encoded bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Encodes a field or struct in the byte order of the running kernel.
pub fn bytes<F: Field>(field: &F) -> Vec<u8> {
    let mut writer = Writer::new(ByteOrder::of_kernel());
    writer.put(field);
    writer.into_bytes()
}

/// Decoder: reads fields from a buffer.
#[derive(Clone, Debug)]
pub struct Reader<'b> {
    order: ByteOrder,
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Returns a reader at the start of `bytes`.
    pub fn new(order: ByteOrder, bytes: &'b [u8]) -> Reader<'b> {
        Reader { order, rest: bytes }
    }

    /// Reads the next field or struct.
    ///
    /// # Errors
    /// Returns [`TooShort`] if too few bytes are left.
    pub fn get<F: Field>(&mut self) -> Result<F, TooShort> {
        F::get(self)
    }

    /// Returns the bytes that have not been read.
    pub fn rest(&self) -> &'b [u8] {
        self.rest
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TooShort> {
        let short = TooShort { need: N, have: self.rest.len() };
        let (head, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = rest;
        Ok(*head)
    }
}

/// Number or struct with a fixed size in a message.
pub trait Field: Sized {
    /// Size in a message, in bytes.
    const SIZE: usize;

    /// Appends the field to `writer`.
    fn put(&self, writer: &mut Writer);

    /// Reads the field from `reader`.
    ///
    /// # Errors
    /// Returns [`TooShort`] if too few bytes are left.
    fn get(reader: &mut Reader<'_>) -> Result<Self, TooShort>;
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

            fn get(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
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

/// Reserved 32-bit words of the protocol: written as zeros and skipped on reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved<const WORDS: usize>;

impl<const WORDS: usize> Field for Reserved<WORDS> {
    const SIZE: usize = WORDS * u32::SIZE;

    fn put(&self, writer: &mut Writer) {
        (0..WORDS).for_each(|_| writer.put(&0u32));
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        for _ in 0..WORDS {
            reader.get::<u32>()?;
        }
        Ok(Reserved)
    }
}

/// Declares structs whose fields follow each other in a message, in the order of declaration.
macro_rules! wire_structs {
    ($(
        $(#[$outer:meta])*
        $vis:vis struct $name:ident { $( $(#[$inner:meta])* $field_vis:vis $field:ident: $kind:ty, )* }
    )*) => {$(
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name { $( $(#[$inner])* $field_vis $field: $kind, )* }

        impl $crate::wire::Field for $name {
            const SIZE: usize = 0 $( + <$kind as $crate::wire::Field>::SIZE )*;

            fn put(&self, writer: &mut $crate::wire::Writer) {
                $( writer.put(&self.$field); )*
            }

            fn get(reader: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::TooShort> {
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
        struct Sample {
            short: u16,
            other: u16,
            signed: i32,
            long: u64,
            reserved: Reserved<2>,
        }
    }

    const SAMPLE: Sample = Sample {
        short: 0x0102,
        other: 0xa0b0,
        signed: -2,
        long: 0x1122_3344_5566_7788,
        reserved: Reserved,
    };

    fn bytes(order: ByteOrder) -> Vec<u8> {
        let mut writer = Writer::new(order);
        writer.put(&SAMPLE);
        writer.into_bytes()
    }

    #[test]
    fn numbers_have_the_given_byte_order() {
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
    fn a_struct_survives_a_round_trip() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = bytes(order);
            assert_eq!(bytes.len(), Sample::SIZE);
            let mut reader = Reader::new(order, &bytes);
            assert_eq!(reader.get(), Ok(SAMPLE));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        let bytes = bytes(ByteOrder::Big);
        for cut in 0..bytes.len() {
            let read = Reader::new(ByteOrder::Big, &bytes[..cut]).get::<Sample>();
            assert!(read.is_err(), "cut at {cut}");
        }
    }
}
