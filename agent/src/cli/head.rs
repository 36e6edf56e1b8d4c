//! `kale-agent head`: the beginning of an artifact, by its format.

use super::{
    args::HeadArgs,
    context::Opened,
    failure::Failure,
    output::{self, Column, Look},
};
use crate::marshal::{
    self, ManifestReader,
    look::{self, Body, View},
};
use kale_protocol::manifest::Shape;

/// The part of a pickled value that names and describes it; its buffers are beside it.
const PICKLE: &[u8] = b"object.pkl";

pub(super) fn run(args: &HeadArgs, look: Look) -> Result<u8, Failure> {
    let opened = Opened::at(&args.address)?;
    let address = &args.address.address;
    let (_, artifact) = opened.output(address)?;
    let transport = opened.store.transport();
    let mut inside = address.path.clone();
    if inside.is_root() && artifact.shape != Shape::File {
        // A value may be a folder of its parts; its main file is what there is to see.
        let main = inside.join(PICKLE).expect("a constant name");
        match ManifestReader::open(transport, &artifact.manifest)?.find(&main)? {
            Some(_) => inside = main,
            None => return super::ls::run(&args.address, look),
        }
    }
    let mut content = marshal::open_content(transport, &artifact.manifest, &inside)?;
    let name = inside.components().next_back().map(|part| String::from_utf8_lossy(part).into_owned());
    let hint = if inside == address.path { artifact.format.as_deref() } else { None };
    let bytes = content.raw_bytes();
    let view = look::look(&mut content, bytes, hint, name.as_deref(), args.rows)?;
    if look.json {
        output::json(&view);
    } else {
        print(&view);
    }
    Ok(0)
}

fn print(view: &View) {
    output::line(&format!("{}: {}", view.format, output::visible(&view.summary)));
    match &view.body {
        Body::Table { columns, rows, .. } => {
            let heads: Vec<String> = columns.iter().map(|column| output::visible(&column.name)).collect();
            let kinds: Vec<String> = columns.iter().map(|column| column.kind.clone()).collect();
            let numeric = |kind: &str| kind.contains("int") || kind.contains("float") || kind.contains("decimal");
            let sides: Vec<Column> =
                kinds.iter().map(|kind| if numeric(kind) { Column::Right("") } else { Column::Left("") }).collect();
            let all = [heads, kinds].into_iter().chain(rows.iter().cloned()).collect();
            output::write(output::table(&sides, all).trim_start_matches('\n').as_bytes());
        }
        Body::Text(lines) => lines.iter().for_each(|text| output::line(&output::visible(text))),
        Body::Json(value) => {
            let text = serde_json::to_string_pretty(value).expect("a JSON value has a JSON form");
            text.lines().for_each(output::line);
        }
        Body::Hex(lines) => lines.iter().for_each(|text| output::line(text)),
    }
    if view.truncated {
        output::line("…");
    }
}
