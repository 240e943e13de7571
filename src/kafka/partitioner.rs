//! Where a key goes by Java's default partitioner, which librdkafka calls `murmur2_random`: for records that are not there yet.

/// The partition of a key among `n`; 0 if there is none.
#[must_use]
pub fn partition_of(key: &[u8], n: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % n.max(1)
}

/// 32-bit MurmurHash2 (Austin Appleby, public domain) with the seed that Kafka's clients use.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own UtilsTest.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        let golden: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in golden {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_partition_is_one_that_is_there() {
        assert_eq!(partition_of(b"foobar", 1), 0);
        assert_eq!(partition_of(b"foobar", 6), ((-790_332_482i32) & 0x7fff_ffff) % 6);
        assert_eq!(partition_of(b"", 0), 0);
    }
}
