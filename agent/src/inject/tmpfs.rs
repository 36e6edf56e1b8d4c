//! Room for the agent's own files in a service that has none: its root is read-only.

use super::{
    error::InjectError,
    plan::{Plan, View},
    settings::StepSettings,
    yaml::{edit::Place, mark::Mark, value::Value},
};

/// Where the agent's files are, if nothing else is said.
const TMP: &str = "/tmp";
/// What says something else.
const CHOICES: [&str; 2] = ["TMPDIR", "KALE_DIR"];

/// Gives a service whose root is read-only a `/tmp` in memory, unless there is one, or another place was chosen.
pub(super) fn make_room(
    plan: &mut Plan<'_, '_>,
    service: View,
    name: &str,
    settings: &StepSettings,
) -> Result<(), InjectError> {
    let is_step = plan.settings.store.is_some() || settings.is_work();
    let is_read_only = plan.text_of(service, "read_only")?.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if !is_step || !is_read_only || is_chosen(plan, service, settings)? || has_tmp(plan, service)? {
        return Ok(());
    }
    let one = plan.get(service, "tmpfs")?.and_then(|there| plan.text(there)).map(str::to_owned);
    match one {
        Some(one) => plan.set(service, "tmpfs", &Value::texts([one.as_str(), TMP]), None, &Mark::WrittenOut)?,
        None => plan.extend(service, "tmpfs", Place::Back, vec![Value::text(TMP).marked()])?,
    }
    plan.notes.push(format!(
        "service {name} has a read-only root, so it gets a {TMP} in memory: where its inputs and outputs are large, mount a volume there"
    ));
    Ok(())
}

/// Whether a variable leads the agent elsewhere.
fn is_chosen(plan: &Plan<'_, '_>, service: View, settings: &StepSettings) -> Result<bool, InjectError> {
    if CHOICES.iter().any(|name| settings.env.contains_key(*name)) {
        return Ok(true);
    }
    let Some(environment) = plan.get(service, "environment")? else { return Ok(false) };
    if let Some(items) = plan.items(environment) {
        let name = |item: View| plan.text(item).and_then(|text| text.split('=').next());
        return Ok(items.into_iter().filter_map(name).any(|name| CHOICES.contains(&name)));
    }
    for name in CHOICES {
        if plan.get(environment, name)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something is mounted there.
fn has_tmp(plan: &Plan<'_, '_>, service: View) -> Result<bool, InjectError> {
    let is_tmp = |path: &str| path.trim_end_matches('/') == TMP;
    for volume in plan.list(service, "volumes")? {
        let there = match plan.text(volume) {
            // A path within, or SOURCE:TARGET and more; the source may be the host's own /tmp.
            Some(text) => text.split(':').skip(usize::from(text.contains(':'))).any(is_tmp),
            None => plan.text_of(volume, "target")?.is_some_and(is_tmp),
        };
        if there {
            return Ok(true);
        }
    }
    let Some(tmpfs) = plan.get(service, "tmpfs")? else { return Ok(false) };
    let all = plan.items(tmpfs).unwrap_or_else(|| vec![tmpfs]);
    Ok(all.into_iter().filter_map(|one| plan.text(one)?.split(':').next()).any(is_tmp))
}
