//! What a record takes in Kafka beside its key and its value.

/// A batch with one record in it: 61 bytes are the batch's, and 36 the record's lengths, attributes, timestamp and offset where
/// they are longest, which is what librdkafka counts before it knows them.
pub const ALONE: usize = 61 + 36;

/// A header.
pub fn header(name: &str, value: &str) -> usize {
    [name.len(), value.len()].into_iter().map(|bytes| length(bytes) + bytes).sum()
}

/// A length is written as a varint with a sign: seven bits a byte, and one of them all is the sign's.
fn length(bytes: usize) -> usize {
    let bits = usize::BITS - bytes.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_grow_where_those_of_kafka_do() {
        let lengths = [0, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576].map(length);
        assert_eq!(lengths, [1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(header("sha256", &"0".repeat(64)), 1 + 6 + 2 + 64);
    }
}
