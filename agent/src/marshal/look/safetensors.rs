//! Tensors behind a header in JSON.

use super::{
    Body, Column, HEADER_LIMIT, MarshalError, View,
    cell::{cell, count, grouped, shape},
    window::Window,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use std::fmt;

/// The name in the header that stands for no tensor.
const METADATA: &str = "__metadata__";

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let length = window.u64_at(0)?;
    if length > HEADER_LIMIT {
        return Err(window.bad(format!("its header claims {length} bytes")));
    }
    let text = window.read_at(8, length)?;
    let mut parser = serde_json::Deserializer::from_slice(&text);
    let tensors = (&mut parser).deserialize_map(Tensors { rows });
    let tensors = tensors.and_then(|tensors| parser.end().map(|()| tensors));
    let (shown, total) = tensors.map_err(|error| window.bad(error))?;
    let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
    Ok(View {
        format: "safetensors".to_owned(),
        summary: format!("{}, {}", count(total, "tensor"), count(window.bytes(), "byte")),
        truncated: (shown.len() as u64) < total,
        body: Body::Table {
            columns: vec![
                column("name", "text"),
                column("dtype", "text"),
                column("shape", "text"),
                column("bytes", "uint64"),
            ],
            rows: shown,
            total_rows: Some(total),
        },
    })
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Keeps the first rows and counts all, so that a long header costs no more than itself.
struct Tensors {
    rows: usize,
}

impl<'de> Visitor<'de> for Tensors {
    type Value = (Vec<Vec<String>>, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut shown, mut total) = (Vec::new(), 0);
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            total += 1;
            if shown.len() >= self.rows {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Tensor { dtype, shape: lengths, data_offsets: [start, end] } = map.next_value()?;
            let bytes = grouped(end.saturating_sub(start));
            shown.push(vec![cell(&name), cell(&dtype), shape(&lengths), bytes]);
        }
        Ok((shown, total))
    }
}
