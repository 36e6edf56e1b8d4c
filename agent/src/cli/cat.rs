//! `kale-agent cat`: a file of an artifact to standard output.

use super::{args::AddressArgs, context::Opened, failure::Failure, load::pipe};
use crate::marshal;

pub(super) fn run(args: &AddressArgs) -> Result<u8, Failure> {
    let opened = Opened::at(args)?;
    let (_, artifact) = opened.output(&args.address)?;
    let mut content = marshal::open_content(opened.store.transport(), &artifact.manifest, &args.address.path)?;
    pipe(&mut content, &args.address.to_string())?;
    Ok(0)
}
