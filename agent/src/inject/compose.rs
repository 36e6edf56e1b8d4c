//! Compose files: every service.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, Step, View},
    settings::{BIN_DIR, IMAGE_BIN, NAME, STORE_VOLUME, StepSettings, Volume},
    tmpfs,
    wrap::{Found, is_ours, stop_by, whole_grace, written_out},
    yaml::{edit::Place, mark::Mark, value::Value},
};
use std::time::Duration;

/// What compose gives a service to end.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The run has no name of its own in compose: who starts it says it.
const RUN: &str = "${KALE_RUN:?the name of this run}";

/// Whether a document is a compose file.
pub(super) fn is_compose(plan: &Plan<'_, '_>, root: View) -> Result<bool, InjectError> {
    Ok(plan.get(root, "kind")?.is_none() && plan.get(root, "services")?.is_some_and(|services| plan.is_map(services)))
}

/// Changes one file.
pub(super) fn plan(plan: &mut Plan<'_, '_>, images: &Images, root: View) -> Result<(), InjectError> {
    if !plan.settings.secrets.is_empty() {
        let what = "compose has no secrets that become variables: write env_file: into the services".to_owned();
        return Err(InjectError::Setting { what });
    }
    let Some(services) = plan.map(root, "services")? else { return Ok(()) };
    let pipeline = plan.text_of(root, "name")?.map(str::to_owned);
    let all = plan.pairs(services);
    if let Some((_, service)) = all.iter().find(|(name, _)| name == NAME) {
        return Err(InjectError::Clash {
            line: plan.line(*service),
            what: format!("a service is called {NAME}"),
            remedy: "give it another name: this one is what kale-agent calls its own",
        });
    }
    let mut any = false;
    for (name, service) in all {
        if name == "<<" || !plan.is_map(service) {
            continue;
        }
        if plan.get(service, "provider")?.is_some() {
            let left = Some("it is no container".to_owned());
            plan.steps.push(Step { name: name.clone(), place: format!("service {name}"), left });
            continue;
        }
        let stop = plan.text_of(service, "stop_grace_period")?;
        let grace = stop.map(humantime::parse_duration).transpose().map_err(|error| {
            plan.shape(service, format!("service {name}: stop_grace_period cannot be used: {error}"))
        })?;
        let labels = labels(plan, service)?;
        let known = [name.clone()];
        let found = Found {
            name: name.clone(),
            what: "service",
            container: service,
            fallback: None,
            fills_args: true,
            said: StepSettings::from_annotations(&labels, &name, &known)?,
            pipeline: pipeline.as_deref(),
            run: Some(RUN),
            shard: None,
            grace: Some(grace.unwrap_or(GRACE)),
            storeless: false,
        };
        let Some(settings) = found.settings(plan)? else { continue };
        if entrypoint(plan, images, &found, &settings)? {
            equip(plan, service, &settings, grace.unwrap_or(GRACE))?;
            tmpfs::make_room(plan, service, &name, &settings)?;
            any = true;
        }
    }
    if any { share(plan, root, services) } else { Ok(()) }
}

/// What the labels of a service say: a map, or a list of `key=value`.
fn labels(plan: &Plan<'_, '_>, service: View) -> Result<Vec<(String, String)>, InjectError> {
    let Some(labels) = plan.get(service, "labels")? else { return Ok(Vec::new()) };
    let Some(items) = plan.items(labels) else { return Ok(plan.said(labels)) };
    let pair = |item: View| plan.text(item)?.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(items.into_iter().filter_map(pair).collect())
}

/// Puts the agent in front of a service. Giving an entrypoint discards the image's CMD: both are written out.
fn entrypoint(
    plan: &mut Plan<'_, '_>,
    images: &Images,
    found: &Found<'_>,
    settings: &StepSettings,
) -> Result<bool, InjectError> {
    let service = found.container;
    let own = plan.get(service, "entrypoint")?;
    let words = match own {
        None => None,
        Some(own) => match (plan.items(own), plan.text(own)) {
            (Some(_), _) => plan.texts(service, "entrypoint")?,
            (None, Some(text)) => Some(split(text).ok_or_else(|| plan.shape(own, "a quote in entrypoint has no end"))?),
            (None, None) => return Err(plan.shape(own, "entrypoint is neither text nor list")),
        },
    };
    if words.as_deref().is_some_and(is_ours) {
        let left = Some("it runs under an agent already, which somebody else put there".to_owned());
        plan.steps.push(Step { name: found.name.clone(), place: format!("service {}", found.name), left });
        return Ok(false);
    }
    let mut agent = found.words(plan, settings)?;
    let signal = plan.text_of(service, "stop_signal")?;
    stop_by(&mut agent, signal);
    match (own, words) {
        (Some(own), Some(words)) if plan.items(own).is_some() && !words.is_empty() => {
            plan.prefix(service, "entrypoint", &agent)?;
        }
        (Some(own), Some(words)) => {
            // Nothing, but said: the image's own is not used, and neither is its CMD.
            if words.is_empty() && plan.get(service, "command")?.is_none() {
                return Err(plan.shape(own, format!("service {} has neither entrypoint nor command", found.name)));
            }
            let whole = Value::texts(agent.into_iter().chain(words));
            plan.set(service, "entrypoint", &whole, Some("image"), &Mark::WrittenOut)?;
        }
        _ => {
            if plan.get(service, "extends")?.is_some() {
                let what = "extends another, which is not followed: write its entrypoint here, too";
                return Err(plan.shape(service, format!("service {} {what}", found.name)));
            }
            let known = found.look_up(plan, images, "entrypoint")?;
            if signal.is_none() {
                stop_by(&mut agent, known.stop_signal.as_deref());
            }
            // A dollar sign is compose's own.
            let escaped = |words: Vec<String>| words.into_iter().map(|word| word.replace('$', "$$"));
            let has_command = plan.get(service, "command")?.is_some();
            if !has_command && known.entrypoint.is_empty() && known.cmd.is_empty() {
                let what = format!("service {} has no command, and neither has its image", found.name);
                return Err(plan.shape(service, what));
            }
            let fills = !has_command && !known.cmd.is_empty();
            written_out(plan, &mut agent, if fills { &["entrypoint", "command"] } else { &["entrypoint"] });
            let whole = Value::texts(agent.into_iter().chain(escaped(known.entrypoint)));
            plan.set(service, "entrypoint", &whole, Some("image"), &Mark::FromImage)?;
            if fills {
                plan.set(service, "command", &Value::texts(escaped(known.cmd)), Some("image"), &Mark::FromImage)?;
            }
        }
    }
    plan.steps.push(Step { name: found.name.clone(), place: format!("service {}", found.name), left: None });
    Ok(true)
}

/// Volumes, variables, order and grace of one service.
fn equip(plan: &mut Plan<'_, '_>, service: View, settings: &StepSettings, grace: Duration) -> Result<(), InjectError> {
    let mut volumes = vec![Value::text(format!("{NAME}:{BIN_DIR}:ro"))];
    match &plan.settings.volume {
        Some((Volume::Claim(_), path)) => volumes.push(Value::text(format!("{STORE_VOLUME}:{path}"))),
        Some((Volume::Host(folder), path)) => volumes.push(Value::text(format!("{folder}:{path}")).marked()),
        None => {}
    }
    for there in plan.list(service, "volumes")? {
        let target = match plan.text(there) {
            Some(text) => text.split(':').nth(1).unwrap_or(text),
            None => plan.text_of(there, "target")?.unwrap_or_default(),
        };
        plan.free_place(there, target)?;
    }
    plan.extend(service, "volumes", Place::Back, volumes)?;
    let environment = plan.get(service, "environment")?;
    let as_it_is = |there: &View| there.is_lent() || plan.is_empty_map(*there);
    if let Some(environment) = environment.filter(|there| plan.items(*there).is_none() && !as_it_is(there)) {
        for (name, value) in &settings.env {
            plan.set(environment, name, &Value::text(value), None, &Mark::Added)?;
        }
    } else if let Some(lent) = environment.filter(|there| plan.items(*there).is_none()) {
        let mut pairs = match plan.value(lent)? {
            Value::Map(pairs) => pairs,
            _ => Vec::new(),
        };
        pairs.extend(settings.env.iter().map(|(name, value)| (Value::text(name), Value::text(value))));
        if !settings.env.is_empty() {
            plan.set(service, "environment", &Value::Map(pairs), None, &Mark::WrittenOut)?;
        }
    } else {
        let there = plan.texts(service, "environment")?.unwrap_or_default();
        let env = settings.env.iter().map(|(name, value)| format!("{name}={value}"));
        let env = env.filter(|line| !there.contains(line)).map(|line| Value::text(line).marked());
        plan.extend(service, "environment", Place::Back, env.collect())?;
    }
    let done = |condition: &str| Value::map([("condition", Value::text(condition))]);
    let ours = done("service_completed_successfully");
    match plan.get(service, "depends_on")?.filter(|there| !plan.is_empty_map(*there)) {
        Some(there) if plan.items(there).is_some() => {
            let others = plan.texts(service, "depends_on")?.unwrap_or_default();
            let others = others.into_iter().map(|name| (name, done("service_started")));
            let all = Value::map(others.chain([(NAME.to_owned(), ours)]));
            plan.set(service, "depends_on", &all, None, &Mark::WrittenOut)?;
        }
        Some(there) if there.is_lent() => {
            let mut pairs = match plan.value(there)? {
                Value::Map(pairs) => pairs,
                _ => Vec::new(),
            };
            pairs.push((Value::text(NAME), ours));
            plan.set(service, "depends_on", &Value::Map(pairs), None, &Mark::WrittenOut)?;
        }
        Some(there) => plan.set(there, NAME, &ours, None, &Mark::Added)?,
        None => plan.set(service, "depends_on", &Value::map([(NAME, ours)]), None, &Mark::Added)?,
    }
    if let Some(whole) = whole_grace(plan.settings, grace) {
        plan.set(service, "stop_grace_period", &Value::text(format!("{whole}s")), None, &Mark::Added)?;
    }
    Ok(())
}

/// The service that fills the volume, and the volumes.
fn share(plan: &mut Plan<'_, '_>, root: View, services: View) -> Result<(), InjectError> {
    let install = Value::map([
        ("image", Value::text(&plan.settings.image)),
        ("entrypoint", Value::texts([IMAGE_BIN, "install", BIN_DIR])),
        ("network_mode", Value::text("none")),
        ("volumes", Value::texts([format!("{NAME}:{BIN_DIR}")])),
    ]);
    plan.set(services, NAME, &install, None, &Mark::Added)?;
    let mut volumes = vec![(NAME, Value::Map(Vec::new()))];
    if let Some((Volume::Claim(claim), _)) = &plan.settings.volume {
        volumes.push((STORE_VOLUME, Value::map([("name", Value::text(claim))])));
    }
    match plan.map(root, "volumes")? {
        Some(there) => {
            for (name, value) in volumes {
                if plan.get(there, name)?.is_some() {
                    return Err(InjectError::Clash {
                        line: plan.line(there),
                        what: format!("a volume is called {name}"),
                        remedy: "give it another name: this one is what kale-agent calls its own",
                    });
                }
                plan.set(there, name, &value, None, &Mark::Added)?;
            }
            Ok(())
        }
        None => plan.set(root, "volumes", &Value::map(volumes), None, &Mark::Added),
    }
}

/// A command as one text, split as compose does: blanks, quotes, backslashes. `None` if a quote has no end.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let words = |text: &str| split(text).map(|words| words.join("|"));
        assert_eq!(words("python -m  app").as_deref(), Some("python|-m|app"));
        assert_eq!(words(r#"sh -c 'a b' "c \"d\" \n" e\ f"#).as_deref(), Some(r#"sh|-c|a b|c "d" \n|e f"#));
        assert_eq!(words("a '' b").as_deref(), Some("a||b"));
        assert_eq!(words("  ").as_deref(), Some(""));
        assert_eq!(words("'a"), None);
        assert_eq!(words("a\\"), None);
    }
}
