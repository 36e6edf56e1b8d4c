//! Safetensors: the length of a JSON header, the header, then the tensors.

use super::{ReadAt, Rule, STARTS, Start, in_order, le_u64, table};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use std::fmt;

const PREFIX: u64 = 8;

pub(super) fn starts(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Vec<Start>> {
    let mut prefix = [0; PREFIX as usize];
    content.read_exact_at(&mut prefix, 0).ok()?;
    let data = le_u64(&prefix, 0)?.checked_add(PREFIX).filter(|data| *data <= bytes)?;
    let Tensors(parts) = serde_json::from_slice(&table(content, PREFIX, data - PREFIX)?).ok()?;
    let parts = in_order(parts, bytes - data)?;
    Some(parts.into_iter().map(|(begin, _)| Start { at: data + begin, rule: Rule::Fixed }).collect())
}

/// Where the tensors that are not empty lie, after the header; names, types and shapes are passed over.
struct Tensors(Vec<(u64, u64)>);

#[derive(Deserialize)]
struct Tensor {
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TensorsVisitor)
    }
}

struct TensorsVisitor;

impl<'de> Visitor<'de> for TensorsVisitor {
    type Value = Tensors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensors, A::Error> {
        let mut parts = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let (begin, end) = map.next_value::<Tensor>()?.data_offsets;
            if begin > end || parts.len() == STARTS {
                return Err(A::Error::custom("not a sound table"));
            }
            if begin < end {
                parts.push((begin, end));
            }
        }
        Ok(Tensors(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, split};

    fn safetensors(header: &str, data: usize) -> Vec<u8> {
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.extend(header.as_bytes());
        content.resize(content.len() + data, 1);
        content
    }

    #[test]
    fn every_tensor_begins_a_segment() {
        let header = r#"{"__metadata__":{"a":"b"},"b":{"dtype":"F32","shape":[10000],"data_offsets":[50000,90000]},
            "a":{"dtype":"F32","shape":[12500],"data_offsets":[0,50000]},"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}} "#;
        let content = safetensors(header, 90_000);
        let split = split(&content[..], content.len() as u64);
        let data = 8 + header.len() as u64;
        assert_eq!(split.format, Some(Format::Safetensors));
        assert_eq!(split.segments.iter().map(|s| s.start).collect::<Vec<_>>(), [0, data, data + 50_000]);
    }

    #[test]
    fn unsound_tables_give_no_segments() {
        for offsets in ["[0,90001]", "[5,1]", "[-1,5]", "[0,18446744073709551615]", "[0]", "\"x\""] {
            let content = safetensors(&format!(r#"{{"a":{{"data_offsets":{offsets}}}}}"#), 90_000);
            assert_eq!(split(&content[..], content.len() as u64).format, None, "{offsets}");
        }
        let overlap = r#"{"a":{"data_offsets":[0,50000]},"b":{"data_offsets":[40000,90000]}}"#;
        let content = safetensors(overlap, 90_000);
        assert_eq!(split(&content[..], content.len() as u64).format, None);
    }
}
